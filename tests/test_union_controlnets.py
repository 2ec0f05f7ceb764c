"""ControlNets that take pictures of several kinds: SDXL's have a class, and pipelines, of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import tiny_families
import torch
from family_cases import CASES, PROMPT, control, given, picture, recipe_of
from PIL import Image

from nbdiffuse import Session
from nbdiffuse.errors import CheckpointError, ParameterError
from nbdiffuse.recipes.parts import ControlNet
from nbdiffuse.recipes.resolve import resolve
from nbdiffuse.recipes.taken_fields import settable
from nbdiffuse.runs.program import script_of

UNION = "sdxl-controlnet-union"
SIZE = CASES[UNION].size
TURNED = picture(SIZE, turned=True)


@pytest.fixture(scope="module")
def own() -> Session:
    return Session()


def two_kinds(checkpoints: Path, mode: str) -> Any:
    net = str(tiny_families.write(UNION, checkpoints))
    first = recipe_of(UNION, mode, checkpoints)
    return first.replace(controlnets=[*first.controlnets, ControlNet(checkpoint=net, image=TURNED, scale=0.4, mode=1)])


@pytest.mark.parametrize("mode", ["txt2img", "img2img"])
def test_two_kinds_act_together_as_in_the_raw_call(
    mode: str, own: Session, family_checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = own.run(two_kinds(family_checkpoints, mode))
    nets = [diffusers.ControlNetUnionModel.from_pretrained(tiny_families.write(UNION, family_checkpoints)) for _ in range(2)]
    kind = getattr(diffusers, mine.fingerprint["pipeline"])
    pipeline = kind.from_pretrained(tiny_families.write("sdxl", family_checkpoints), controlnet=nets)
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(
        PROMPT,
        **given(UNION, mode),
        control_image=[control(SIZE), TURNED],
        control_mode=[3, 1],
        controlnet_conditioning_scale=[0.7, 0.4],
        control_guidance_end=[0.6, 1.0],
        num_inference_steps=4,
        generator=torch.Generator("cpu").manual_seed(3),
    ).images[0]
    assert mine.image.tobytes() == made.tobytes()
    script = script_of(mine)
    assert " with a ControlNet and diffusers." in script.text.splitlines()[0]
    assert script.text.count("ControlNetUnionModel.from_pretrained") == 2
    script.save(tmp_path / "program.py")
    monkeypatch.chdir(tmp_path)
    exec(compile(script.text, "program.py", "exec"), {"__name__": "__main__"})
    assert Image.open(tmp_path / script.results[0]).tobytes() == mine.image.tobytes()


@pytest.mark.quick
def test_the_number_of_a_kind_is_offered_where_a_controlnet_stands(family_checkpoints: Path) -> None:
    recipe = recipe_of(UNION, "img2img", family_checkpoints)
    assert "control_mode" in settable(recipe) and "control_mode" in settable(recipe.replace(control_mode=None))
    assert "control_mode" not in settable(recipe.replace(controlnets=()))


def test_a_controlnet_of_the_other_class_is_one_line_before_anything_is_loaded(own: Session, family_checkpoints: Path) -> None:
    recipe = recipe_of(UNION, "img2img", family_checkpoints)
    with pytest.raises(CheckpointError, match=r"takes pictures of several kinds\. Say which one by `control_mode`") as error:
        own.run(recipe.replace(control_mode=None))
    plain = str(tiny_families.write("sdxl-controlnet", family_checkpoints))
    with pytest.raises(CheckpointError, match=r"takes pictures of one kind, so it has no `control_mode`\. Leave it out\."):
        own.run(recipe.replace(controlnet=plain))
    assert "\n" not in str(error.value)


def test_a_kind_that_it_does_not_know_is_one_line(own: Session, family_checkpoints: Path) -> None:
    for more, name in (({"control_mode": 6}, "control_mode"), ({"controlnets.2.mode": 9}, r"controlnets\.2\.mode")):
        with pytest.raises(ParameterError, match=rf"`{name}` must be at most 5, got \d\. .* knows 6 kinds of pictures"):
            own.run(two_kinds(family_checkpoints, "img2img").replace(**more))


def test_perturbed_attention_beside_it_is_one_line(family_checkpoints: Path) -> None:
    with pytest.raises(ParameterError, match=r"`pag_scale` cannot be combined with a ControlNet for "):
        resolve(recipe_of(UNION, "img2img", family_checkpoints, pag_scale=2.0))
