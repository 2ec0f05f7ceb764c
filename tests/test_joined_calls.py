"""Cells of a grid share the model calls of every family whose calls allow it, and keep the pictures of single runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import family_cases
import flow_cases
import numpy as np
import pytest
import tiny
import tiny_families
import tiny_sd3
import torch
from test_batching import alone, together

from nbdiffuse import Recipe, resolve
from nbdiffuse.engine.batched_models import batch_model_calls
from nbdiffuse.engine.engine import Engine
from nbdiffuse.engine.model_calls import ModelCall, run_batched
from nbdiffuse.pipelines.pipelines import Pipelines

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

CELLS: list[dict[str, Any]] = [{"seed": 1}, {"seed": 2, "prompt": "a blue house"}, {"seed": 3}]
"""Of one length of text, so that all of their calls can be joined."""
JOINED: dict[str, tuple[dict[str, Any], int]] = {
    # Name: what the cells have in common, and calls of the denoiser in each cell's run.
    "stable-diffusion-3": ({"strength": 0.5}, 2),
    "flux-dev": ({"strength": 0.5, "negative_prompt": "sea", "true_cfg_scale": 2.0, "guidance_scale": 3.5}, 4),
    "flux-schnell": ({"strength": 0.5}, 2),
    "qwenimage": ({"strength": 0.5, "negative_prompt": "sea", "true_cfg_scale": 3.0}, 4),
    "z-image": ({"strength": 0.5, "negative_prompt": "sea"}, 2),
    "chroma": ({"strength": 0.5}, 4),
    "lcm": ({"strength": 0.9}, 4),
    "flux-kontext": ({}, 4),
    "flux2-klein": ({}, 8),
}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(Pipelines("cpu"))


def recipe_of(name: str, checkpoints: Path, **more: Any) -> Recipe:
    if name == "stable-diffusion-3":
        folder = checkpoints / name
        directory = folder if (folder / "model_index.json").is_file() else tiny_sd3.build(folder)
    else:
        directory = tiny_families.write(name, checkpoints)
    values = {
        "prompt": "a red house!",
        "image": family_cases.picture((80, 64)),
        "num_inference_steps": 4,
        **JOINED[name][0],
        **more,
    }
    return Recipe(model=str(directory), **values)


@contextmanager
def calls_of(engine: Engine, recipe: Recipe) -> Iterator[list[int]]:
    """Yield the rows of each call that the resident denoiser gets; a run has loaded it."""
    parts = engine.pipelines.components(str(resolve(recipe).checkpoint))
    rows: list[int] = []

    def look(model: Any, args: Any, kwargs: Any) -> None:
        rows.append(len(args[0] if args else kwargs["hidden_states"]))

    handle = parts["unet" if "unet" in parts else "transformer"].register_forward_pre_hook(look, with_kwargs=True)
    try:
        yield rows
    finally:
        handle.remove()


def furthest(one: Any, other: Any) -> int:
    return int(np.abs(np.asarray(one.image, int) - np.asarray(other.image, int)).max())


@pytest.mark.parametrize("name", JOINED)
def test_cells_share_their_calls_and_keep_their_pictures(name: str, engine: Engine, family_checkpoints: Path) -> None:
    recipes = [recipe_of(name, family_checkpoints, **cell) for cell in CELLS]
    singles = [alone(engine, recipe) for recipe in recipes]
    with calls_of(engine, recipes[0]) as rows:
        again = alone(engine, recipes[0])
    calls, each = JOINED[name][1], rows[0]
    assert rows == [each] * calls and furthest(again, singles[0]) == 0
    with calls_of(engine, recipes[0]) as rows:
        outcomes = together(engine, recipes)
    # As many calls as one cell makes, and each has the rows of all.
    assert rows == [each * len(recipes)] * calls
    for index, single in enumerate(singles):
        assert furthest(outcomes[index], single) <= 2, index
        assert outcomes[index].fingerprint["batch"] == f"{each * len(recipes)} rows"
    assert furthest(singles[0], singles[1]) > 2  # else all cells were one


@pytest.mark.parametrize("name", ["stable-diffusion-3", "flux-dev", "qwenimage", "z-image", "flux2-klein"])
def test_cells_that_differ_in_more_than_rows_go_side_by_side(name: str, engine: Engine, family_checkpoints: Path) -> None:
    base = recipe_of(name, family_checkpoints)
    other: list[dict[str, Any]] = [
        {"seed": 1},
        {"seed": 2, "prompt": "a text of quite another length"},
        {"seed": 3, "image": family_cases.picture((64, 64))},
    ]
    other += [{"seed": 4, "num_inference_steps": 3}, {"seed": 5, **({"strength": 1.0} if base.strength else {})}]
    recipes = [base.replace(**one) for one in other]
    outcomes = together(engine, recipes)
    for index, recipe in enumerate(recipes):
        assert furthest(outcomes[index], alone(engine, recipe)) <= 2, other[index]


@pytest.mark.parametrize(
    "name",
    [
        "klein-three",
        "kontext-inpaint-reference",
        "fill",
        "flux-controlnet-two",
        "flux-controlnet-union",
        "chroma-inpaint",
        "qwen-controlnet",
        "z-controlnet",
    ],
)
def test_pictures_beside_the_prompt_masks_and_controlnets_are_joined_too(
    name: str, engine: Engine, family_checkpoints: Path
) -> None:
    recipes = [flow_cases.recipe_of(name, family_checkpoints, seed=seed) for seed in (1, 2, 3)]
    outcomes = together(engine, recipes)
    for index, recipe in enumerate(recipes):
        assert outcomes[index].fingerprint["batch"].endswith(" rows")
        assert furthest(outcomes[index], alone(engine, recipe)) <= 2


def call(*args: Any, **kwargs: Any) -> ModelCall:
    return ModelCall(call, lambda *args, **kwargs: (args, kwargs), args, kwargs)


def call_of_flux(rows: int, text: int = 3, ids: Any = None, **more: Any) -> ModelCall:
    return call(
        hidden_states=torch.rand(rows, 2, 4),
        guidance=torch.rand(rows),
        encoder_hidden_states=torch.rand(rows, text, 4),
        img_ids=torch.arange(6.0).reshape(2, 3) if ids is None else ids,
        txt_ids=torch.zeros(text, 3),
        **more,
    )


@pytest.mark.quick
def test_what_has_no_row_is_given_once_even_where_it_is_as_long_as_the_rows() -> None:
    calls = [call_of_flux(2), call_of_flux(1), call_of_flux(2)]
    assert len({one.kind for one in calls}) == 1
    made = ModelCall(None, lambda **kwargs: kwargs, (), calls[0].kwargs)
    results = run_batched([made, *calls[1:]])
    # The output holds what the model was given, cut into rows.
    assert [len(one["hidden_states"]) for one in results] == [2, 1, 2]
    assert torch.equal(results[1]["guidance"], calls[1].kwargs["guidance"])
    seen: dict[str, Any] = {}
    run_batched([ModelCall(None, lambda **kwargs: seen.update(kwargs) or kwargs["hidden_states"], (), calls[0].kwargs), calls[1]])
    assert seen["img_ids"].shape == (2, 3) and seen["txt_ids"].shape == (3, 3) and len(seen["guidance"]) == 3


@pytest.mark.quick
def test_other_places_texts_and_layouts_stay_apart() -> None:
    base = call_of_flux(2)
    assert base.kind != call_of_flux(2, ids=torch.ones(2, 3)).kind
    assert base.kind != call_of_flux(2, text=4).kind
    assert base.kind != call_of_flux(2, joint_attention_kwargs={"scale": 0.5}).kind
    # With a batch axis a model reads the places of the first row alone.
    batched = [call_of_flux(2, ids=torch.full((2, 2, 4), value)) for value in (1.0, 1.0, 2.0)]
    assert batched[0].kind == batched[1].kind != batched[2].kind
    shaped = [call_of_flux(count, img_shapes=[[(1, 2, side)]] * count) for count, side in ((2, 4), (1, 4), (2, 5))]
    assert shaped[0].kind == shaped[1].kind != shaped[2].kind
    seen: dict[str, Any] = {}
    first = ModelCall(None, lambda **kwargs: seen.update(kwargs) or kwargs["hidden_states"], (), shaped[0].kwargs)
    run_batched([first, shaped[1]])
    assert seen["img_shapes"] == [[(1, 2, 4)]] * 3


@pytest.mark.quick
def test_lists_of_rows_are_put_together_and_cut_again() -> None:
    def twice(samples: list[torch.Tensor], timestep: torch.Tensor, texts: list[torch.Tensor]) -> Any:
        assert len(samples) == len(timestep) == len(texts)
        return ([sample * step + len(text) for sample, step, text in zip(samples, timestep, texts, strict=True)],)

    def listed(count: int, words: int) -> ModelCall:
        samples = [torch.full((1, 2), float(count)) for _ in range(count)]
        return ModelCall(twice, twice, (samples, torch.full((count,), 2.0), [torch.zeros(words, 5)] * count), {})

    calls = [listed(2, 3), listed(1, 7)]
    assert calls[0].kind == calls[1].kind and [one.rows for one in calls] == [2, 1]
    for one, (made,) in zip(calls, run_batched(calls), strict=True):
        (alone_made,) = one.function(*one.args)
        assert len(made) == one.rows and all(torch.equal(a, b) for a, b in zip(made, alone_made, strict=True))
    # Lists beside a tensor of rows are a ControlNet's, an entry for each block: their entries have the rows.
    blocks = call(torch.zeros(2, 4), [torch.zeros(2, 8), torch.zeros(2, 16)])
    assert blocks.kind == call(torch.ones(1, 4), [torch.zeros(1, 8), torch.zeros(1, 16)]).kind


def test_a_pipeline_whose_attention_cuts_the_batch_makes_its_calls_itself() -> None:
    from diffusers import PNDMScheduler, StableDiffusionPAGPipeline, StableDiffusionPipeline

    parts = {"vae": tiny.vae(), "text_encoder": None, "tokenizer": None, "unet": tiny._unet(), "scheduler": PNDMScheduler()}
    safe = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    for kind, joined in ((StableDiffusionPAGPipeline, False), (StableDiffusionPipeline, True)):
        pipeline: Any = kind(**parts, **safe)
        batch_model_calls(object(), pipeline)  # type: ignore[arg-type]
        assert (pipeline.unet is not parts["unet"]) == joined == (pipeline.vae is not parts["vae"])
