"""What is known of a family before it runs: its name, its steps, what it takes, and a strength that ignores the picture."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import diffusers
import pytest
import tiny_families
import torch
from family_cases import CASES, FLOWS, MODES, loaded, picture, recipe_of

from nbdiffuse import resolve
from nbdiffuse.devices.optimizations import Optimizations, apply
from nbdiffuse.errors import ParameterError
from nbdiffuse.families.recognition import recognise
from nbdiffuse.panels.recipe_panel import Panel
from nbdiffuse.recipes.notices import before_run
from nbdiffuse.recipes.steps import real_steps
from nbdiffuse.recipes.taken_fields import settable
from nbdiffuse.scripts.writing import Step, of_steps
from nbdiffuse.sessions.session import Session

UNUSED = "The initial picture is not used"


@pytest.fixture(scope="module")
def own() -> Session:
    return Session()


@pytest.mark.parametrize("name, mode", [(name, mode) for name, mode in MODES if mode != "txt2img" and name != "lcm"])
def test_the_steps_that_are_predicted_are_those_that_run(name: str, mode: str, family_checkpoints: Path) -> None:
    pipeline = loaded(name, mode, family_checkpoints)
    complete = resolve(recipe_of(name, mode, family_checkpoints))
    shift = {"mu": 0.7} if CASES[name].flow and pipeline.scheduler.config.use_dynamic_shifting else {}
    starts = getattr(getattr(pipeline, "decoder_pipe", pipeline), "get_timesteps", None)
    assert (starts is None) == (complete.strength is None)
    for steps, hundredth in itertools.product((1, 4, 5, 20, 50), range(1, 101, 4)):
        pipeline.scheduler.set_timesteps(steps, **shift)
        timesteps = starts(steps, hundredth / 100, "cpu")[0] if starts else pipeline.scheduler.timesteps
        more = {"strength": hundredth / 100} if starts else {}
        assert real_steps(complete.replace(num_inference_steps=steps, **more)) == len(timesteps)


def test_a_latent_consistency_model_runs_every_step_or_is_refused_where_diffusers_would(family_checkpoints: Path) -> None:
    recipe = recipe_of("lcm", "img2img", family_checkpoints, original_inference_steps=None)
    assert resolve(recipe).get("original_inference_steps") == 50
    scheduler = diffusers.LCMScheduler.from_pretrained(family_checkpoints / "lcm", subfolder="scheduler")
    for steps in (1, 2, 4, 8, 30, 50, 51):
        for hundredth in range(1, 101, 6):
            asked = recipe.replace(strength=hundredth / 100, num_inference_steps=steps)
            try:
                scheduler.set_timesteps(steps, strength=hundredth / 100)
            except ValueError:
                with pytest.raises(ParameterError, match=r"`num_inference_steps` must be at most .*, got \d+\. [RL]"):
                    resolve(asked)
            else:
                assert real_steps(resolve(asked)) == len(scheduler.timesteps)


@pytest.mark.parametrize("name", CASES)
def test_a_directory_is_known_by_its_index(name: str, family_checkpoints: Path) -> None:
    found = recognise(str(tiny_families.write(CASES[name].checkpoint or name, family_checkpoints)))
    assert found is not None and found.family == CASES[name].family


@pytest.mark.parametrize("name", FLOWS)
def test_a_strength_below_1_that_ignores_the_picture_is_said(name: str, own: Session, family_checkpoints: Path) -> None:
    other = picture(CASES[name].size, turned=True)
    for strength, unused in ((0.9, True), (0.75, False)):
        recipe = recipe_of(name, "img2img", family_checkpoints, strength=strength)
        one, two = (own.run(recipe.replace(**more)) for more in ({}, {"image": other}))
        assert (one.image.tobytes() == two.image.tobytes()) == unused
        assert any(line.startswith(UNUSED) for line in one.notices) == unused


def test_the_line_names_a_strength_that_keeps_the_picture(family_checkpoints: Path) -> None:
    recipe = resolve(recipe_of("chroma", "img2img", family_checkpoints, num_inference_steps=None))
    assert (recipe.strength, recipe.num_inference_steps) == (0.9, 35) and before_run(recipe) == ()
    (line,) = before_run(recipe.replace(num_inference_steps=4))
    assert line.startswith(UNUSED) and "lower `strength` to 0.5" not in line
    way_out = float(line.partition("lower `strength` to ")[2].partition(",")[0])
    assert before_run(recipe.replace(num_inference_steps=4, strength=way_out)) == ()
    assert "lower" not in before_run(recipe.replace(num_inference_steps=1))[0]


@pytest.mark.parametrize(
    ("scale", "negative", "line"),
    [
        (4.0, None, "`true_cfg_scale` 4 does nothing without `negative_prompt`"),
        (1.0, "blue", "`negative_prompt` does nothing at `true_cfg_scale` 1"),
        (4.0, " ", None),
        (1.0, None, None),
    ],
)
@pytest.mark.parametrize("name", ["flux-dev", "qwenimage"])
def test_half_of_true_cfg_is_said_where_it_changes_nothing(
    name: str, scale: float, negative: str | None, line: str | None, own: Session, family_checkpoints: Path
) -> None:
    recipe = recipe_of(name, "img2img", family_checkpoints, true_cfg_scale=scale, negative_prompt=negative)
    notices = before_run(resolve(recipe))
    plain = recipe.replace(true_cfg_scale=1.0, negative_prompt=None)
    assert (own.run(recipe).image.tobytes() == own.run(plain).image.tobytes()) == (negative != " ")
    assert notices == () if line is None else notices[0].startswith(line)


@pytest.mark.parametrize(
    ("name", "mode", "values", "line"),
    [
        ("qwenimage", "img2img", {"guidance_scale": 4.0}, "`guidance_scale` is not taken by qwenimage"),
        ("z-image", "img2img", {"true_cfg_scale": 4.0}, "`true_cfg_scale` is not taken by z-image"),
        ("chroma", "img2img", {"max_sequence_length": 0}, "`max_sequence_length` must be a whole number of tokens"),
        ("chroma", "img2img", {"max_sequence_length": 513}, "`max_sequence_length` must be at most 512 for chroma, got 513."),
        ("flux-dev", "img2img", {"scheduler": "FlowMatchHeunDiscrete"}, "`scheduler` must fit flux"),
        ("flux-dev", "img2img", {"scheduler": "FlowMatchLCM"}, "`scheduler` must fit flux"),
        ("flux-dev", "img2img", {"width": 72}, "`width` must be a multiple of 16 for flux, got 72"),
        ("lcm", "img2img", {"negative_prompt": "blue"}, "`negative_prompt` is not taken by lcm"),
        ("lcm", "img2img", {"scheduler": "TCD"}, "`scheduler` must fit lcm"),
        ("lcm", "img2img", {"strength": 0.05}, "`num_inference_steps` must be at most the 2 that strength 0.05 leaves of the"),
        ("kandinsky21", "img2img", {"image": picture((128, 64))}, "`image` must be square for kandinsky, got 128x64."),
        ("kandinsky3", "img2img", {"width": 96}, "`width` must be a multiple of 64 for kandinsky3, got 96"),
        ("sd-inpainting", "img2img", {}, "`mask_image` must be given: "),
        ("sdxl-inpainting", "txt2img", {}, "`mask_image` must be given: "),
        ("kandinsky21", "inpaint", {}, "`checkpoint` must be one for inpainting where a mask is given, got "),
        (
            "kandinsky21-inpainting",
            "inpaint",
            {"strength": 0.5},
            "`strength` is not taken by kandinsky (Kandinsky 2.1) with a mask. Leave it",
        ),
        ("flux-dev", "txt2img", {"width": 72}, "`width` must be a multiple of 16"),
    ],
)
def test_what_a_family_does_not_take_is_one_line(
    name: str, mode: str, values: dict[str, Any], line: str, family_checkpoints: Path
) -> None:
    with pytest.raises(ParameterError) as raised:
        resolve(recipe_of(name, mode, family_checkpoints, **values))
    assert str(raised.value).startswith(line) and "\n" not in str(raised.value)


def test_a_transformer_is_compiled_and_its_program_says_so(family_checkpoints: Path) -> None:
    pipeline = diffusers.FluxPipeline.from_pretrained(tiny_families.write("flux-dev", family_checkpoints))
    apply(pipeline.components, Optimizations(compile="on", attention="plain"))
    blocks = [*pipeline.transformer.transformer_blocks, *pipeline.transformer.single_transformer_blocks]
    assert blocks and all(block._compiled_call_impl is not None for block in blocks)
    recipe = resolve(recipe_of("flux-dev", "img2img", family_checkpoints))
    text = of_steps([Step(recipe, {"compile": "on", "attention": "plain", "channels_last": "on"})]).text
    lines = [line for line in text.splitlines() if "pipeline.transformer" in line]
    assert len(lines) == 2 and "pipeline.unet" not in text and "AttnProcessor" not in text
    for line in lines:
        exec(line, {"pipeline": pipeline, "torch": torch})


@pytest.mark.parametrize("name", CASES)
def test_a_panel_shows_what_a_family_takes(name: str, own: Session, family_checkpoints: Path) -> None:
    recipe = recipe_of(name, list(CASES[name].modes)[-1], family_checkpoints)
    panel = Panel(recipe, own)
    controls = panel._controls
    shown = {*controls._first.children, *controls._further.children}
    assert shown == {controls._control(field).widget for field in settable(panel.recipe)}
    assert set(CASES[name].values) <= set(settable(panel.recipe))
    assert resolve(panel.recipe) == resolve(recipe)
    for switch in (field for field in CASES[name].values if CASES[name].values[field] is True):
        controls._control(switch).widget.value = False
        panel._thread.settle()
        assert panel.recipe.get(switch) is False


def test_a_strength_that_is_no_number_of_steps_has_a_slider_of_hundredths(own: Session, family_checkpoints: Path) -> None:
    panel = Panel(recipe_of("lcm", "img2img", family_checkpoints), own)
    strength = panel._controls._control("strength")
    assert (strength._slider.max, strength._slider.value) == (100, 80)
    assert "runs 4 of 4 steps" in strength._hint.value and "same image" not in strength._hint.value
    strength._slider.value = 35
    panel._thread.settle()
    assert panel.recipe.strength == strength._box.value == 0.35
