"""Weighted prompts: the pixels of embeddings that were made by hand, on every family, and kept between runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from compel import Compel, CompelForSD, CompelForSDXL, ReturnedEmbeddingsType

from nbdiffuse import Recipe, Session, resolve, sweep
from nbdiffuse.engine import conditioning
from nbdiffuse.errors import ParameterError

LONG = "a cat wizard++, gandalf, lord of the rings. " * 6 + "(a red zebra)0.5 in the snow"
PROMPTS = [
    "Astronaut in a jungle++, (cold color palette)0.7, detailed, 8k",
    "a plain prompt without a weight",
    '("a cat", "a robot++").blend(.7, .3)',
    '("a cat in the snow", "a robot").and(.5, 2)',
    "a (very (old)1.2 house)++ by the sea-, (fog)0",
    LONG,
]
NEGATIVES = ["", "(ugly, deformed)1.3, bad anatomy--", LONG]
STEPS = {"num_inference_steps": 3}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("weighted")
    for name in ("sdxl", "sdxl-refiner", "x4-upscaler"):
        tiny.write(name, directory)
    return directory


@pytest.fixture(scope="module")
def by_hand(checkpoints: Path) -> Callable[[str, str], Any]:
    """Return raw pipelines on the tiny checkpoints."""
    import diffusers

    loaded: dict[tuple[str, str], Any] = {}

    def get(name: str, pipeline: str) -> Any:
        if (name, pipeline) not in loaded:
            made = getattr(diffusers, pipeline).from_pretrained(checkpoints / name)
            made.set_progress_bar_config(disable=True)
            loaded[name, pipeline] = made
        return loaded[name, pipeline]

    return get


def seeded() -> torch.Generator:
    return torch.Generator("cpu").manual_seed(7)


@contextmanager
def counted(*encoders: Any) -> Iterator[list[int]]:
    """Count the forward passes of text encoders."""
    calls: list[int] = []
    hooks = [encoder.register_forward_hook(lambda *_: calls.append(1)) for encoder in encoders]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize(
    ("prompt", "negative"),
    [*((prompt, NEGATIVES[1]) for prompt in PROMPTS), *((prompt, NEGATIVES[0]) for prompt in PROMPTS[3:]), (PROMPTS[0], LONG)],
)
def test_pixels_equal_those_of_embeddings_from_compel_by_hand(
    prompt: str, negative: str, raw: Callable[[str], Any], session: Session, scene: Any
) -> None:
    values: dict[str, Any] = {"strength": 0.8, **STEPS}
    recipe = Recipe(prompt=prompt, negative_prompt=negative, image=scene.image, weighting="compel", seed=7, **values)
    mine = session.run(recipe)
    pipeline = raw("StableDiffusionImg2ImgPipeline")
    made = CompelForSD(pipeline)(prompt, negative)
    embeds = {"prompt_embeds": made.embeds, "negative_prompt_embeds": made.negative_embeds}
    theirs = pipeline(image=scene.image, generator=seeded(), **embeds, **values).images[0]
    assert mine.image.tobytes() == theirs.tobytes()
    assert [line for line in mine.notices if "was never shown" not in line] == []


@pytest.mark.parametrize(
    ("task", "prompt", "values"),
    [
        ("txt2img", PROMPTS[0], {}),
        ("img2img", PROMPTS[0], {"negative_prompt": "(ugly)1.3"}),
        ("txt2img", PROMPTS[2], {"negative_prompt": "ugly", "prompt_2": "a cat++", "negative_prompt_2": "snow--"}),
        ("img2img", LONG, {"negative_prompt": "ugly"}),
        ("img2img", "a cat++", {"negative_prompt": LONG, "prompt_2": "a red+ dog. " * 25}),
        ("img2img", "a cat++", {"guidance_scale": 1.0, "negative_prompt": "ugly++"}),
        ("img2img", "a cat++", {"negative_prompt_2": "ugly++"}),
    ],
    ids=["alone", "negative", "four prompts", "long", "unequal", "unguided", "zeros"],
)
def test_both_text_encoders_of_sdxl_are_weighed_and_pooled(
    task: str,
    prompt: str,
    values: dict[str, Any],
    by_hand: Callable[[str, str], Any],
    checkpoints: Path,
    session: Session,
    scene: Any,
) -> None:
    given: dict[str, Any] = {"image": scene.image, "strength": 0.7} if task == "img2img" else {"width": 64, "height": 64}
    directory = str(checkpoints / "sdxl")
    mine = session.run(
        Recipe(prompt=prompt, model="sdxl", checkpoint=directory, weighting="compel", seed=7, **STEPS, **given, **values)
    )
    pipeline = by_hand("sdxl", "StableDiffusionXLImg2ImgPipeline" if "image" in given else "StableDiffusionXLPipeline")
    made = CompelForSDXL(pipeline)(
        prompt,
        negative_prompt=values.get("negative_prompt"),
        style_prompt=values.get("prompt_2"),
        negative_style_prompt=values.get("negative_prompt_2") if "negative_prompt" in values else None,
    )
    theirs = pipeline(
        prompt_embeds=made.embeds,
        pooled_prompt_embeds=made.pooled_embeds,
        negative_prompt_embeds=made.negative_embeds,
        negative_pooled_prompt_embeds=made.negative_pooled_embeds,
        guidance_scale=values.get("guidance_scale", 5.0),
        generator=seeded(),
        **STEPS,
        **given,
    ).images[0]
    assert mine.image.tobytes() == theirs.tobytes()
    read = [values.get("prompt_2", prompt), values.get("negative_prompt_2", values.get("negative_prompt", ""))]
    assert len(mine.notices) == sum(len(text) > 250 for text in read)


@pytest.mark.parametrize("negative", NEGATIVES)
def test_the_refiner_is_weighed_with_its_one_encoder(
    negative: str, by_hand: Callable[[str, str], Any], checkpoints: Path, session: Session, scene: Any
) -> None:
    given: dict[str, Any] = {"image": scene.image, "strength": 0.7, **STEPS}
    recipe = Recipe(prompt=PROMPTS[0], negative_prompt=negative, model="sdxl-refiner", weighting="compel", seed=7, **given)
    mine = session.run(recipe.replace(checkpoint=str(checkpoints / "sdxl-refiner")))
    pipeline = by_hand("sdxl-refiner", "StableDiffusionXLImg2ImgPipeline")
    compel = Compel(
        pipeline.tokenizer_2,
        pipeline.text_encoder_2,
        returned_embeddings_type=ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED,
        requires_pooled=True,
        truncate_long_prompts=False,
    )
    embeds, pooled = compel([PROMPTS[0], negative])
    theirs = pipeline(
        prompt_embeds=embeds[:1],
        negative_prompt_embeds=embeds[1:],
        pooled_prompt_embeds=pooled[:1],
        negative_pooled_prompt_embeds=pooled[1:],
        guidance_scale=5.0,
        generator=seeded(),
        **given,
    ).images[0]
    assert mine.image.tobytes() == theirs.tobytes()


def test_the_x4_upscaler_is_weighed(by_hand: Callable[[str, str], Any], checkpoints: Path, session: Session, scene: Any) -> None:
    small = scene.image.resize((64, 64))
    values = {"image": small, "guidance_scale": 5.0, **STEPS}
    recipe = Recipe(prompt=PROMPTS[0], model="x4-upscaler", weighting="compel", seed=7, **values)
    mine = session.run(recipe.replace(checkpoint=str(checkpoints / "x4-upscaler")))
    pipeline = by_hand("x4-upscaler", "StableDiffusionUpscalePipeline")
    made = CompelForSD(pipeline)(PROMPTS[0], "")
    embeds = {"prompt_embeds": made.embeds, "negative_prompt_embeds": made.negative_embeds}
    theirs = pipeline(generator=seeded(), noise_level=20, **embeds, **values).images[0]
    assert mine.image.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("dialect", ["compel", "a1111"])
def test_a_text_without_weights_gives_the_plain_pixels(dialect: str, session: Session, scene: Any) -> None:
    values: dict[str, Any] = {"negative_prompt": "ugly, deformed", "image": scene.image, "seed": 7, **STEPS}
    recipe = Recipe(prompt="a cat in the snow, detailed", **values)
    assert session.run(recipe.replace(weighting=dialect)).image.tobytes() == session.run(recipe).image.tobytes()


@pytest.mark.parametrize(
    ("a1111", "compel"),
    [
        ("a (red house:1.3), [fog]", "a (red house)1.3, (fog)0.9090909090909091"),
        ("((old)) house \\(big\\)", "(old)1.2100000000000002 house \\(big\\)"),
        ("a cat BREAK a (robot:1.5)", '("a cat", "a (robot)1.5").and()'),
    ],
)
def test_the_two_dialects_say_the_same_in_their_own_words(a1111: str, compel: str, session: Session) -> None:
    first, second = (
        session.run(Recipe(prompt=prompt, weighting=dialect, seed=7, **STEPS))
        for prompt, dialect in ((a1111, "a1111"), (compel, "compel"))
    )
    assert first.image.tobytes() == second.image.tobytes()


def test_brackets_change_nothing_unless_weighting_is_on(raw: Callable[[str], Any], session: Session) -> None:
    prompt = "a (cat:1.3), ((hat)), jungle++ [x]"
    mine = session.run(Recipe(prompt=prompt, seed=7, **STEPS))
    theirs = raw("StableDiffusionPipeline")(prompt, generator=seeded(), **STEPS).images[0]
    assert mine.image.tobytes() == theirs.tobytes()
    assert "compel" not in mine.fingerprint


def test_a_second_run_with_another_guidance_encodes_nothing(session: Session, scene: Any) -> None:
    for prompt, negative in ((PROMPTS[0], "(bad)1.2"), (LONG, "")):
        recipe = Recipe(prompt=prompt, negative_prompt=negative, image=scene.image, weighting="compel", seed=7, **STEPS)
        cold = session.run(recipe.replace(guidance_scale=3.0))
        assert session._engine is not None
        encoder = session._engine.pipelines.components("sd15")["text_encoder"]
        with counted(encoder) as calls:
            session.run(recipe.replace(guidance_scale=9.0, seed=8))
            again = session.run(recipe.replace(guidance_scale=3.0))
        assert calls == []
        assert again.image.tobytes() == cold.image.tobytes()


def test_kept_embeddings_of_one_dialect_do_not_answer_for_another(session: Session) -> None:
    pictures = {
        dialect: session.run(Recipe(prompt="a (cat)1.9 (in snow:1.9)", weighting=dialect, seed=7, **STEPS)).image.tobytes()
        for dialect in ("none", "compel", "a1111", "none", "a1111", "compel")
    }
    assert len(set(pictures.values())) == 3


def test_an_adapters_text_encoder_is_asked_every_time(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(prompt="a cat++", weighting="compel", seed=7, **STEPS)
    session.run(recipe)
    assert session._engine is not None
    encoder = session._engine.pipelines.components("sd15")["text_encoder"]
    monkeypatch.setattr(encoder, "_hf_peft_config_loaded", True, raising=False)
    with counted(encoder) as calls:
        session.run(recipe)
    assert calls


def test_weighting_is_an_axis_of_a_sweep(session: Session) -> None:
    recipe = Recipe(prompt="a (cat:1.5) in a jungle++", seed=7, **STEPS)
    grid = sweep(recipe, weighting="none,compel,a1111").run()
    cells = grid.sweep.cells()
    assert [cell.recipe.weighting for cell in cells] == ["none", "compel", "a1111"]
    assert len({cell.picture_key for cell in cells}) == 3


def test_words_below_one_of_which_no_token_is_left_do_no_harm(session: Session) -> None:
    session.run(Recipe(prompt="a [ ]cat [\u200b] (x:0.5)", weighting="a1111", seed=7, **STEPS))


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"prompt": "a (cat", "weighting": "compel"}, r"`prompt` must close every bracket, got character 3: '\(cat'"),
        ({"negative_prompt": "x [cat", "weighting": "a1111"}, r"`negative_prompt` must close every bracket, got character 3"),
        ({"prompt_2": "x) y", "weighting": "compel", "model": "sdxl"}, r"`prompt_2` must open every bracket"),
        ({"weighting": "compel", "model": "kandinsky22"}, r"`weighting` is not taken by kandinsky22"),
        ({"weighting": "compell"}, r"`weighting` must be one of none, compel, a1111, got 'compell'. Did you mean 'compel'"),
    ],
    ids=str,
)
def test_bad_weighting_is_one_line_before_anything_is_loaded(values: dict[str, Any], line: str) -> None:
    with pytest.raises(ParameterError, match=line):
        resolve(Recipe(**{"prompt": "a cat", **values}))


def test_without_the_library_the_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbdiffuse.prompts.dialects.find_spec", lambda name: None)
    with pytest.raises(ParameterError, match=r'`weighting` needs Compel.*pip install "nbdiffuse\[weighting\]"'):
        resolve(Recipe(prompt="a cat", weighting="a1111"))
    assert resolve(Recipe(prompt="a cat")).weighting == "none"


def test_embeddings_of_a_run_without_guidance_are_made_for_one_prompt(session: Session, raw: Callable[[str], Any]) -> None:
    recipe = resolve(Recipe(prompt="a cat++", negative_prompt="ugly", weighting="compel", guidance_scale=1.0, seed=1))
    made = conditioning.arguments(raw("StableDiffusionPipeline"), recipe, lambda key, make: make())
    assert made["prompt_embeds"].shape[:2] == (1, 77) and "negative_prompt_embeds" not in made
