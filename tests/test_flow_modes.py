"""Transformers that edit, look at several pictures, or redraw a masked part: each runs as diffusers' own call does."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_families
import torch
from flow_cases import CASES, IMAGE, LAMP, PROMPT, SIZE, SOFA, by_hand, pipeline_of, recipe_of
from PIL import Image

from nbdiffuse import Recipe, Session
from nbdiffuse.engine import progress
from nbdiffuse.engine.engine import Engine
from nbdiffuse.engine.progress import Progress
from nbdiffuse.errors import CheckpointError, Interrupted, ParameterError
from nbdiffuse.families.recognition import recognise
from nbdiffuse.metadata import image_files
from nbdiffuse.recipes import preset
from nbdiffuse.recipes.parts import ControlNet
from nbdiffuse.recipes.resolve import resolve
from nbdiffuse.recipes.steps import real_steps
from nbdiffuse.recipes.taken_fields import settable
from nbdiffuse.results import Result
from nbdiffuse.runs.program import script_of

Run = Callable[[str], Result]
LACKS = pytest.mark.skipif(find_spec("torchvision") is None, reason="Qwen-Image-Edit's processor needs torchvision")


def marked(names: Iterable[str]) -> list[Any]:
    """Return names of cases; those that need what may not be installed are skipped without it."""
    return [pytest.param(name, marks=LACKS) if CASES[name].checkpoint.startswith("qwen-edit") else name for name in names]


@pytest.fixture(scope="module", autouse=True)
def small_condition() -> Iterator[None]:
    """Have Qwen's pipelines bring pictures to 128 x 128 pixels before they encode them: a megapixel is written into them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("edit", "edit_plus"):
            module = importlib.import_module(f"diffusers.pipelines.qwenimage.pipeline_qwenimage_{name}")
            patch.setattr(module, "calculate_dimensions", functools.partial(_smaller, module.calculate_dimensions))
        yield


def _smaller(original: Callable[..., Any], target_area: int, ratio: float) -> Any:
    return original(128 * 128, ratio)


@pytest.fixture(scope="module")
def own() -> Session:
    return Session()


@pytest.fixture(scope="module")
def run(own: Session, family_checkpoints: Path) -> Run:
    """Return a function that runs a case once and keeps what it made."""
    made: dict[str, Result] = {}

    def make(name: str) -> Result:
        if name not in made:
            made[name] = own.run(recipe_of(name, family_checkpoints))
        return made[name]

    return make


@pytest.mark.parametrize("name", marked(CASES))
def test_the_pixels_and_the_size_are_those_of_the_raw_call(name: str, run: Run, family_checkpoints: Path) -> None:
    made = run(name)
    assert made.fingerprint["pipeline"] == CASES[name].pipeline
    assert made.image.size == SIZE and np.asarray(made.image).std() > 1
    assert made.image.tobytes() == by_hand(name, family_checkpoints).tobytes()


@pytest.mark.parametrize("name", marked(CASES))
def test_the_program_gives_the_same_pixels(name: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = script_of(run(name))
    script.save(tmp_path / "program.py")
    monkeypatch.chdir(tmp_path)
    exec(compile(script.text, "program.py", "exec"), {"__name__": "__main__"})
    assert Image.open(tmp_path / script.results[0]).tobytes() == run(name).image.tobytes()


@pytest.mark.parametrize("name", marked(CASES))
def test_a_saved_picture_says_the_same_recipe(name: str, run: Run, tmp_path: Path) -> None:
    found = image_files.read(run(name).save(tmp_path / "it.png")).provenance
    made = run(name).recipe
    # Of a directory no more than its name leaves this machine.
    assert found is not None
    kept = [net.checkpoint for net in found.recipe.controlnets if net.checkpoint is not None]
    assert kept == [net for net, _ in CASES[name].nets]
    own, said = ([_placeless(net) for net in recipe.controlnets] for recipe in (made, found.recipe))
    assert found.recipe.replace(checkpoint=made.checkpoint, controlnets=said) == made.replace(controlnets=own)


def _placeless(net: ControlNet) -> ControlNet:
    return net if net.checkpoint is None else dataclasses.replace(net, checkpoint="net")


@pytest.mark.parametrize("name", marked(CASES))
def test_each_step_is_seen_with_a_preview_and_a_stop_changes_nothing(
    name: str, run: Run, own: Session, family_checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PREVIEW_INTERVAL", 0)
    recipe, stop, seen = recipe_of(name, family_checkpoints), threading.Event(), list[Progress]()
    with pytest.raises(Interrupted):
        own.with_pipelines(Engine).run(resolve(recipe.replace(seed=4)), lambda step: stop.set(), stop)
    assert own.run(recipe, seen.append).image.tobytes() == run(name).image.tobytes()
    count = real_steps(run(name).recipe)
    assert [(step.step, step.steps) for step in seen] == [(number, count) for number in range(1, count + 1)]
    sides = [step.preview.size if step.preview else None for step in seen[:-1]]
    assert sides == [(SIZE[0] // 8, SIZE[1] // 8) if CASES[name].previews else None] * (count - 1)


@pytest.mark.parametrize("steps", [1, 4, 20, 50])
@pytest.mark.parametrize("name", marked(name for name, case in CASES.items() if "strength" in case.call))
def test_the_steps_that_are_predicted_are_those_that_run(name: str, steps: int, family_checkpoints: Path) -> None:
    recipe = recipe_of(name, family_checkpoints)
    pipeline = pipeline_of(name, family_checkpoints)
    for hundredth in range(1, 101, 3):
        pipeline.scheduler.set_timesteps(steps, mu=0.7)
        timesteps, _ = pipeline.get_timesteps(steps, hundredth / 100, "cpu")
        asked = recipe.replace(strength=hundredth / 100, num_inference_steps=steps)
        assert real_steps(asked) == len(timesteps)


@pytest.mark.parametrize("name", marked(CASES))
def test_a_directory_is_known_by_its_index(name: str, family_checkpoints: Path) -> None:
    found = recognise(str(tiny_families.write(CASES[name].checkpoint, family_checkpoints)))
    assert found is not None and found.family == CASES[name].family


def test_flux_fill_is_known_by_what_its_transformer_takes(family_checkpoints: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(tiny_families.write("flux-fill", family_checkpoints), tmp_path / "fill")
    index = json.loads((directory / "model_index.json").read_text())
    (directory / "model_index.json").write_text(json.dumps({**index, "_class_name": "FluxPipeline"}))
    found = recognise(str(directory))
    assert found is not None and found.family == "flux-fill"
    with pytest.raises(ParameterError, match=r"must be weights of Flux for flux, got .* Write `--model flux-fill --checkpoint"):
        resolve(recipe_of("fill", family_checkpoints, model="flux", checkpoint=str(directory)))


@pytest.mark.parametrize(
    ("name", "change", "line"),
    [
        ("kontext", {"strength": 0.5}, "`strength` is not taken by flux-kontext .* without a mask"),
        ("klein", {"strength": 0.5}, "`strength` is not taken by flux2-klein .* without a mask"),
        ("kontext-inpaint", {"mask_crop": 8}, "`mask_crop` is not taken by flux-kontext"),
        ("kontext", {"image_reference": LAMP}, "`references` must be left out for flux-kontext, which takes one picture"),
        (
            "kontext-inpaint",
            {"references": [SOFA, LAMP]},
            "must be at most 1 for flux-kontext with a mask, which takes 2 pictures",
        ),
        ("klein-inpaint", {"references": [SOFA, LAMP]}, "must be at most 1 for flux2-klein with a mask, which takes 2 pictures"),
        ("klein-inpaint", {"width": 1536, "height": 1024}, "`width` times `height` must be at most 1048576 .* with a mask"),
        (
            "fill",
            {"mask_image": None, "mask_overlay": None},
            "`mask_image` must be given: Flux Fill only redraws what a mask says",
        ),
        ("fill", {"negative_prompt": "night"}, "`negative_prompt` is not taken by flux-fill"),
        ("fill", {"image": None, "mask_image": None, "mask_overlay": None}, "`image` must be given: Flux Fill only redraws"),
    ],
)
def test_what_a_mode_does_not_take_is_one_line(name: str, change: dict[str, Any], line: str, family_checkpoints: Path) -> None:
    with pytest.raises(ParameterError, match=line) as error:
        resolve(recipe_of(name, family_checkpoints, **change))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "change", "line"),
    [
        ("flux-controlnet-img2img", {"negative_prompt": "night"}, "`negative_prompt` is not taken by flux .* with a ControlNet"),
        ("flux-controlnet-img2img", {"true_cfg_scale": 2.0}, "`true_cfg_scale` is not taken by flux .* with a ControlNet"),
        ("flux-controlnet-two", {"control_mode": 1}, r"`controlnets\.2\.mode` must be given, as it is for another ControlNet"),
        ("z-controlnet", {"control_guidance_end": 0.5}, "`control_guidance_end` is not taken by z-image"),
        ("z-controlnet", {"control_mode": 1}, "`control_mode` is not taken by z-image"),
        ("z-controlnet", {"image": IMAGE}, "`image` and `controlnet` cannot be combined for z-image"),
        ("z-controlnet-inpaint", {"strength": 0.5}, "`strength` is not taken by z-image .* with a mask and a ControlNet"),
        ("qwen-controlnet", {"image": IMAGE, "mask_image": LAMP}, "encodes the picture with random numbers"),
        ("kontext", {"controlnet": "a/b", "control_image": LAMP}, "`controlnet` is not taken by flux-kontext"),
        ("flux-control-img2img", {"controlnets": ()}, "`control_image` must be given: Flux Control only draws what a control"),
        ("flux-control-img2img", {"controlnet": "a/b"}, r"`controlnet` is not taken by flux-control \(Flux Control\)"),
        ("flux-control-img2img", {"controlnet_conditioning_scale": 0.5}, "`controlnet_conditioning_scale` is not taken by flux"),
        ("flux-control-img2img", {"control_image": "auto"}, "must be a picture for Flux Control, or say what makes one: `auto:"),
    ],
)  # fmt: skip
def test_what_a_controlnet_does_not_go_with_is_one_line(
    name: str, change: dict[str, Any], line: str, family_checkpoints: Path
) -> None:
    with pytest.raises(ParameterError, match=line) as error:
        resolve(recipe_of(name, family_checkpoints).replace(**change))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "most"), [("qwen-controlnet", 1), ("z-controlnet", 1)])
def test_more_controlnets_than_diffusers_takes_are_one_line(name: str, most: int, family_checkpoints: Path) -> None:
    recipe = recipe_of(name, family_checkpoints)
    with pytest.raises(ParameterError, match=f"`controlnets` must be at most {most} for .*, got 2"):
        resolve(recipe.replace(controlnets=[*recipe.controlnets, *recipe.controlnets]))


def test_a_controlnet_of_another_family_is_one_line(own: Session, family_checkpoints: Path) -> None:
    for name, other in (("flux-controlnet", "qwen-controlnet"), ("qwen-controlnet", "flux-controlnet")):
        net = str(tiny_families.write(other, family_checkpoints))
        with pytest.raises(CheckpointError, match=r"was made for another family than .*: it is a \w+, not a \w+\. Give one made"):
            own.run(recipe_of(name, family_checkpoints).replace(controlnet=net))


def test_a_kind_that_a_union_controlnet_does_not_know_is_one_line(own: Session, family_checkpoints: Path) -> None:
    with pytest.raises(ParameterError, match=r"`control_mode` must be at most 2, got 3\. .* knows 3 kinds of pictures"):
        own.run(recipe_of("flux-controlnet-union", family_checkpoints).replace(control_mode=3))


def test_a_run_with_torchs_own_generator_leaves_it_as_it_was(own: Session, family_checkpoints: Path) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    own.run(recipe_of("sd3-controlnet", family_checkpoints, seed=5))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_library_that_is_missing_is_one_line_before_anything_is_fetched(own: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolve(Recipe(model="qwen-image-edit", image=IMAGE, prompt=PROMPT))
    assert asked.get("true_cfg_scale") == 4.0 and asked.strength is None
    monkeypatch.setattr(preset, "find_spec", lambda name: None)
    with pytest.raises(
        ParameterError, match=r"needs torchvision, and it is not installed\. Run `pip install \"nbdiffuse\[vision\]"
    ):
        own.run(asked)
    with pytest.raises(
        ParameterError, match=r"for qwenimage-edit: diffusers' QwenImageEditInpaintPipeline makes about a megapixel"
    ):
        resolve(asked.replace(model="qwenimage-edit", checkpoint="Qwen/Qwen-Image-Edit", mask_image=IMAGE))


def test_a_panel_shows_strength_where_a_mask_gives_an_edit_one(family_checkpoints: Path) -> None:
    masked = recipe_of("kontext-inpaint", family_checkpoints)
    assert "strength" in settable(masked)
    assert "strength" not in settable(masked.replace(mask=None, strength=None))
    assert "mask_image" in settable(masked.replace(mask=None, strength=None))


def test_weights_that_follow_a_picture_themselves_are_offered_one_and_no_controlnet(family_checkpoints: Path) -> None:
    recipe = recipe_of("flux-control-img2img", family_checkpoints)
    for one in (recipe, recipe.replace(controlnets=())):
        assert {name for name in settable(one) if "control" in name} == {"control_image"}
    assert resolve(Recipe(prompt=PROMPT, model="black-forest-labs/FLUX.1-Canny-dev", control_image=IMAGE)).model == "flux-control"


@pytest.mark.parametrize("name", marked(CASES))
def test_recipes_of_one_batch_are_those_that_run_alone(name: str, run: Run, own: Session, family_checkpoints: Path) -> None:
    recipes = [recipe_of(name, family_checkpoints, seed=seed) for seed in (3, 4)]
    made: dict[int, Any] = {}
    own.submit_batch(recipes, lambda *seen: None, made.__setitem__).result()
    alone = np.asarray(run(name).image, np.int16)
    assert np.abs(np.asarray(made[0].image, np.int16) - alone).max() <= 2
