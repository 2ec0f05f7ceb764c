"""Families whose weights do not come with the package: each runs as diffusers runs it, seen step by step and stopped at will."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import tiny_families
import torch
from PIL import Image

from nbdiffuse import Recipe, resolve
from nbdiffuse.devices.steps import StepHook
from nbdiffuse.engine import progress
from nbdiffuse.engine.progress import Progress
from nbdiffuse.errors import Interrupted, ParameterError
from nbdiffuse.families.recognition import recognise
from nbdiffuse.metadata import image_files
from nbdiffuse.recipes.notices import before_run
from nbdiffuse.recipes.presets import preset_of
from nbdiffuse.recipes.steps import real_steps
from nbdiffuse.results import Result
from nbdiffuse.runs.program import script_of
from nbdiffuse.sessions.session import Session

PROMPT = "a red house"
AUTOMATIC = {
    "txt2img": "AutoPipelineForText2Image",
    "img2img": "AutoPipelineForImage2Image",
    "inpaint": "AutoPipelineForInpainting",
}
UNUSED = "The initial picture is not used"


@dataclass(frozen=True)
class Case:
    """A checkpoint of `tiny_families`, and how its family is called.

    Parameters
    ----------
    family
        Key of its family.
    modes
        Each with the class that loads it.
    size
        Width and height of the pictures; not square, so that a picture that is squeezed shows.
    values
        Arguments that its calls take, beside those that all take.
    latents
        Whether results keep their latents.
    previews
        Whether steps have a preview.
    flow
        Whether it is a family of flow matching.
    """

    family: str
    modes: dict[str, str] = field(default_factory=lambda: AUTOMATIC)
    size: tuple[int, int] = (80, 64)
    values: dict[str, Any] = field(default_factory=dict)
    latents: bool = True
    previews: bool = True
    flow: bool = True


CASES = {
    "flux-dev": Case(
        "flux",
        values={"true_cfg_scale": 2.0, "negative_prompt": "blue", "prompt_2": "a tree", "guidance_scale": 3.5},
    ),
    "flux-schnell": Case("flux", values={"max_sequence_length": 32}),
    "qwenimage": Case("qwenimage", values={"negative_prompt": "blue", "true_cfg_scale": 3.0}, latents=False),
    "z-image": Case("z-image", values={"negative_prompt": "blue", "cfg_normalization": True, "cfg_truncation": 0.5}),
    "chroma": Case(
        "chroma", {"txt2img": AUTOMATIC["txt2img"], "img2img": "ChromaImg2ImgPipeline"}, values={"negative_prompt": "blue"}
    ),
}
MODES = [(name, mode) for name, case in CASES.items() for mode in case.modes]
FLOWS = [name for name, case in CASES.items() if case.flow]


@pytest.fixture(scope="module")
def checkpoints(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the checkpoints are, kept between runs of the tests where pytest keeps anything."""
    cache = getattr(request.config, "cache", None)
    if cache is None:
        return tmp_path_factory.mktemp("families")
    kept: Path = cache.mkdir(f"families-{tiny_families.version()}")
    return kept


@pytest.fixture(scope="module")
def own() -> Session:
    return Session()


@pytest.fixture(scope="module")
def run(own: Session, checkpoints: Path) -> Callable[..., Result]:
    """Return a function that runs a case once and keeps what it made."""
    made: dict[tuple[str, str], Result] = {}

    def make(name: str, mode: str) -> Result:
        if (name, mode) not in made:
            made[name, mode] = own.run(recipe_of(name, mode, checkpoints))
        return made[name, mode]

    return make


def picture(size: tuple[int, int], turned: bool = False) -> Image.Image:
    made = Image.linear_gradient("L").resize(size).convert("RGB")
    return made.rotate(180) if turned else made


def mask(size: tuple[int, int]) -> Image.Image:
    made = Image.new("L", size, 0)
    made.paste(255, (20, 10, 60, 50))
    return made


def given(name: str, mode: str) -> dict[str, Any]:
    """Return the pictures of a mode, or the size where there are none."""
    width, height = CASES[name].size
    if mode == "txt2img":
        return {"width": width, "height": height}
    pictures: dict[str, Any] = {"image": picture((width, height))}
    return pictures if mode == "img2img" else {**pictures, "mask_image": mask((width, height))}


def recipe_of(name: str, mode: str, checkpoints: Path, **more: Any) -> Recipe:
    directory = tiny_families.write(name, checkpoints)
    values = {"num_inference_steps": 4, "seed": 3, **given(name, mode), **CASES[name].values, **more}
    if mode == "inpaint":
        values["mask_overlay"] = "none"
    return Recipe(prompt=PROMPT, model=str(directory), **values)


def by_hand(name: str, mode: str, checkpoints: Path, **more: Any) -> Any:
    """Make the call as a person would, and return the pipeline and what it gives."""
    case = CASES[name]
    pipeline = getattr(diffusers, case.modes[mode]).from_pretrained(tiny_families.write(name, checkpoints))
    pipeline.set_progress_bar_config(disable=True)
    call = {"prompt": PROMPT, "num_inference_steps": 4, **given(name, mode), **case.values, **more}
    if {"width", "height"} <= set(inspect.signature(pipeline.__call__).parameters):
        call |= {"width": case.size[0], "height": case.size[1]}
    return pipeline, pipeline(**call, generator=torch.Generator("cpu").manual_seed(3)).images


@pytest.mark.parametrize("name, mode", MODES)
def test_pixels_equal_the_raw_call(name: str, mode: str, run: Callable[..., Result], checkpoints: Path) -> None:
    result = run(name, mode)
    pipeline, images = by_hand(name, mode, checkpoints)
    assert result.fingerprint["pipeline"] == type(pipeline).__name__
    assert result.image.size == CASES[name].size == (result.recipe.width, result.recipe.height)
    assert result.image.tobytes() == images[0].tobytes()
    assert np.asarray(result.image).std() > 1


@pytest.mark.parametrize("name", CASES)
def test_with_nothing_said_pixels_equal_those_of_the_pipelines_own_defaults(name: str, own: Session, checkpoints: Path) -> None:
    bare = dict.fromkeys(CASES[name].values)
    result = own.run(recipe_of(name, "img2img", checkpoints, **bare))
    pipeline = getattr(diffusers, CASES[name].modes["img2img"]).from_pretrained(checkpoints / name)
    size = dict(zip(("width", "height"), CASES[name].size, strict=True))
    pipeline.set_progress_bar_config(disable=True)
    accepted = inspect.signature(pipeline.__call__).parameters
    call = {"prompt": PROMPT, "num_inference_steps": 4, **given(name, "img2img"), **(size if "width" in accepted else {})}
    image = pipeline(**call, generator=torch.Generator("cpu").manual_seed(3)).images[0]
    assert result.image.tobytes() == image.tobytes()


@pytest.mark.parametrize("name, mode", MODES)
def test_the_program_gives_the_same_pixels(
    name: str, mode: str, run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(name, mode)
    script = script_of(result)
    assert f"{CASES[name].modes[mode]}.from_pretrained" in script.text and "scheduler" not in script.text
    script.save(tmp_path / "program.py")
    monkeypatch.chdir(tmp_path)
    exec(compile(script.text, "program.py", "exec"), {"__name__": "__main__"})
    assert Image.open(tmp_path / script.results[0]).tobytes() == result.image.tobytes()


@pytest.mark.parametrize("name, mode", MODES)
def test_a_saved_picture_says_the_same_recipe(name: str, mode: str, run: Callable[..., Result], tmp_path: Path) -> None:
    result = run(name, mode)
    found = image_files.read(result.save(tmp_path / "it.png")).provenance
    # Of a directory no more than its name leaves this machine.
    assert found is not None and found.recipe.checkpoint == name
    assert found.recipe.replace(checkpoint=result.recipe.checkpoint) == result.recipe
    assert found.fingerprint["pipeline"] == result.fingerprint["pipeline"]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("steps", [1, 4, 5, 20, 50])
def test_the_steps_that_are_predicted_are_those_that_run(name: str, steps: int, checkpoints: Path) -> None:
    complete = resolve(recipe_of(name, "img2img", checkpoints, strength=1.0))
    pipeline = getattr(diffusers, CASES[name].modes["img2img"]).from_pretrained(checkpoints / name)
    shift = {"mu": 0.7} if CASES[name].flow and pipeline.scheduler.config.use_dynamic_shifting else {}
    for hundredth in range(1, 101, 4):
        pipeline.scheduler.set_timesteps(steps, **shift)
        timesteps, _ = pipeline.get_timesteps(steps, hundredth / 100, "cpu")
        recipe = complete.replace(strength=hundredth / 100, num_inference_steps=steps)
        assert real_steps(recipe) == len(timesteps)


@pytest.mark.parametrize("name, mode", MODES)
def test_each_step_is_seen_and_a_stop_changes_nothing(
    name: str, mode: str, run: Callable[..., Result], own: Session, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PREVIEW_INTERVAL", 0)
    before, seen = run(name, mode), list[Progress]()
    recipe = recipe_of(name, mode, checkpoints)
    begun: list[Any] = []

    def stop(step: Progress) -> None:
        begun[0].stop()

    begun.append(own.submit(recipe, lambda step: begun and stop(step)))
    with pytest.raises(Interrupted):
        begun[0].result()
    assert own.run(recipe, seen.append).image.tobytes() == before.image.tobytes()
    count = real_steps(before.recipe)
    assert [(step.step, step.steps) for step in seen] == [(number, count) for number in range(1, count + 1)]
    sides = [step.preview.size if step.preview else None for step in seen[:-1]]
    width, height = CASES[name].size
    assert sides == [(width // 8, height // 8) if CASES[name].previews else None] * (count - 1)


@pytest.mark.parametrize("name", FLOWS)
def test_what_a_preview_shows_is_where_the_step_is_headed(name: str, checkpoints: Path) -> None:
    pipeline = getattr(diffusers, CASES[name].modes["img2img"]).from_pretrained(tiny_families.write(name, checkpoints))
    pipeline.set_progress_bar_config(disable=True)
    width, height = CASES[name].size
    estimates: list[tuple[torch.Tensor | None, torch.Tensor]] = []
    with StepHook(pipeline.scheduler, lambda step: estimates.append((step.clean(), step.latents))):
        pipeline(prompt=PROMPT, width=width, height=height, num_inference_steps=4, **given(name, "img2img"))
    clean, latents = estimates[-1]
    assert clean is not None
    torch.testing.assert_close(clean, latents)
    assert not torch.allclose(estimates[0][0], estimates[0][1])


@pytest.mark.parametrize("name", CASES)
def test_latents_go_on_as_by_hand_or_are_not_kept(name: str, run: Callable[..., Result], own: Session, checkpoints: Path) -> None:
    case, (width, height) = CASES[name], CASES[name].size
    first = run(name, "txt2img")
    assert (first.latents is not None) == case.latents
    if first.latents is None:
        with pytest.raises(ParameterError, match="`image` must be a picture"):
            resolve(recipe_of(name, "img2img", checkpoints, image=run("flux-dev", "txt2img").latents))
        return
    pipeline, latents = by_hand(name, "txt2img", checkpoints, output_type="latent")
    if preset_of(first.recipe.model).packed:
        latents = pipeline._unpack_latents(latents, height, width, pipeline.vae_scale_factor)
    second = own.run(recipe_of(name, "img2img", checkpoints, image=first.latents))
    _, images = by_hand(name, "img2img", checkpoints, image=latents)
    assert second.image.tobytes() == images[0].tobytes()


@pytest.mark.parametrize("name", CASES)
def test_a_directory_is_known_by_its_index(name: str, checkpoints: Path) -> None:
    found = recognise(str(tiny_families.write(name, checkpoints)))
    assert found is not None and found.family == CASES[name].family


@pytest.mark.parametrize("name", FLOWS)
def test_a_strength_below_1_that_ignores_the_picture_is_said(name: str, own: Session, checkpoints: Path) -> None:
    other = picture(CASES[name].size, turned=True)
    for strength, unused in ((0.9, True), (0.75, False)):
        recipe = recipe_of(name, "img2img", checkpoints, strength=strength)
        one, two = (own.run(recipe.replace(**more)) for more in ({}, {"image": other}))
        assert (one.image.tobytes() == two.image.tobytes()) == unused
        assert any(line.startswith(UNUSED) for line in one.notices) == unused


def test_the_line_names_a_strength_that_keeps_the_picture(checkpoints: Path) -> None:
    recipe = resolve(recipe_of("chroma", "img2img", checkpoints, num_inference_steps=None))
    assert (recipe.strength, recipe.num_inference_steps) == (0.9, 35) and before_run(recipe) == ()
    (line,) = before_run(recipe.replace(num_inference_steps=4))
    assert line.startswith(UNUSED) and "lower `strength` to 0.5" not in line
    way_out = float(line.partition("lower `strength` to ")[2].partition(",")[0])
    assert before_run(recipe.replace(num_inference_steps=4, strength=way_out)) == ()
    assert "lower" not in before_run(recipe.replace(num_inference_steps=1))[0]


@pytest.mark.parametrize(
    ("name", "mode", "values", "line"),
    [
        ("chroma", "inpaint", {}, "`mask_image` must be left out for chroma: diffusers' ChromaInpaintPipeline stops"),
        ("qwenimage", "img2img", {"guidance_scale": 4.0}, "`guidance_scale` is not taken by qwenimage"),
        ("z-image", "img2img", {"true_cfg_scale": 4.0}, "`true_cfg_scale` is not taken by z-image"),
        ("chroma", "img2img", {"max_sequence_length": 0}, "`max_sequence_length` must be a whole number of tokens"),
        ("chroma", "img2img", {"max_sequence_length": 513}, "`max_sequence_length` must be at most 512 for chroma, got 513."),
        ("flux-dev", "img2img", {"scheduler": "FlowMatchHeunDiscrete"}, "`scheduler` must fit flux"),
        ("flux-dev", "img2img", {"width": 72}, "`width` must be a multiple of 16 for flux, got 72"),
        ("flux-dev", "txt2img", {"width": 72}, "`width` must be a multiple of 16"),
    ],
)
def test_what_a_family_does_not_take_is_one_line(
    name: str, mode: str, values: dict[str, Any], line: str, checkpoints: Path
) -> None:
    with pytest.raises(ParameterError) as raised:
        resolve(recipe_of(name, mode, checkpoints, **values))
    assert str(raised.value).startswith(line) and "\n" not in str(raised.value)
