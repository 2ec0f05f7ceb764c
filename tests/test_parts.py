"""Parts of a recipe: any number of ControlNets and LoRA, a mask, a family's arguments, under one name on every surface."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nbdiffuse import Recipe, sweep
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.cells.write import cell_text
from nbdiffuse.errors import ParameterError
from nbdiffuse.images.picture import Picture
from nbdiffuse.metadata.fingerprints import breach, checked
from nbdiffuse.metadata.provenance import Provenance
from nbdiffuse.recipes.format_1 import digest_of_format_1
from nbdiffuse.recipes.lora import Lora
from nbdiffuse.recipes.parts import ControlNet, Mask
from nbdiffuse.recipes.resolve import resolve
from nbdiffuse.recipes.taken_fields import settable
from nbdiffuse.results import summary
from nbdiffuse.store.store import Store

START = Picture.of(Image.new("RGB", (64, 64), "teal"))
MAP = Picture.of(Image.new("RGB", (64, 64), "grey"))
FORMAT_1 = {
    "format": 1,
    "prompt": "a cat",
    "model": "sd15",
    "image": START.address,
    "controlnet": "depth",
    "control_image": MAP.address,
    "controlnet_conditioning_scale": 0.5,
    "controlnet_2": "depth",
    "control_image_2": START.address,
    "control_guidance_end_2": 0.5,
    "lora": "a.safetensors:0.5 + b.safetensors",
}
"""As `Recipe.to_json` wrote it before recipes had parts."""


def test_a_recipe_of_format_1_is_read_and_means_the_same() -> None:
    recipe = Recipe.from_json(json.dumps(FORMAT_1))
    first, second = recipe.controlnets
    assert first == ControlNet(checkpoint="depth", image=MAP, scale=0.5)
    assert second == ControlNet(checkpoint="depth", image=START, end=0.5)
    assert recipe.loras == (Lora(file="a.safetensors", scale=0.5), Lora(file="b.safetensors", scale=1.0))
    assert json.loads(recipe.to_json())["format"] == 2 and Recipe.from_json(recipe.to_json()) == recipe


def test_parts_may_be_given_as_values_as_mappings_or_by_the_names_of_their_options() -> None:
    values = Recipe(image=START, controlnets=[ControlNet(checkpoint="depth", image=MAP, scale=0.5)], mask=Mask(image=MAP))
    mappings = Recipe(image=START, controlnets=[{"checkpoint": "depth", "image": MAP, "scale": 0.5}], mask={"image": MAP})
    named = Recipe(image=START, controlnet="depth", control_image=MAP, controlnet_conditioning_scale=0.5, mask_image=MAP)
    assert values == mappings == named and hash(values) == hash(named)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 1)), min_size=1, max_size=5), st.integers(0, 4))
def test_any_number_of_controlnets_is_written_as_a_cell_and_read_back(nets: list[tuple[float, float]], loras: int) -> None:
    recipe = Recipe(
        prompt="a cat",
        image=START,
        controlnets=[ControlNet(checkpoint="depth", image=MAP, scale=scale, end=end) for scale, end in nets],
        loras=[Lora(file=f"{number}.safetensors", scale=number / 7) for number in range(loras)],
    )
    words = {name: "start" if picture == START else "map" for name, picture in recipe.pictures.items()}
    head, _, body = cell_text(recipe, words).partition("\n")
    cell = parse_cell("img2img", head.removeprefix("%%img2img "), body)
    pictures = {"start": START, "map": MAP}
    assert (
        Recipe(**{name: pictures.get(value, value) if isinstance(value, str) else value for name, value in cell.values.items()})
        == recipe
    )
    assert head.count("--controlnet ") == len(nets) and head.count("--lora ") == loras


def test_an_option_belongs_to_the_controlnet_before_it() -> None:
    line = "start --controlnet depth --control-image a --controlnet a/b --control-image b --controlnet-conditioning-scale 0.4"
    values = parse_cell("img2img", line, "a cat").values
    assert values["controlnet"] == "depth" and values["controlnets.2.checkpoint"] == "a/b"
    assert values["controlnets.2.scale"] == 0.4 and "controlnet_conditioning_scale" not in values


def test_an_option_of_one_part_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"`--control-image` must be given once, got 'a' and 'b'"):
        parse_cell("img2img", "start --controlnet depth --control-image a --control-image b", "a cat")


def test_a_part_is_swept_by_its_place_or_by_the_name_of_its_option() -> None:
    recipe = Recipe(prompt="a cat", image=START, num_inference_steps=2, controlnets=[{"checkpoint": "depth", "image": MAP}] * 3)
    by_place = sweep(recipe, **{"controlnets.3.scale": [0.2, 0.4]}).sweep
    assert [cell.recipe.controlnets[2].scale for cell in by_place.cells()] == [0.2, 0.4]
    by_name = sweep(recipe, controlnet_conditioning_scale="0:1:0.5").sweep
    assert [cell.recipe.controlnets[0].scale for cell in by_name.cells()] == [0.0, 0.5, 1.0]
    cell = parse_cell("img2img", "start --controlnet depth --control-image map --controlnets.1.scale 0.2,0.4", "a cat")
    assert cell.axes == {"controlnet_conditioning_scale": (0.2, 0.4)}


def test_each_controlnet_that_is_there_makes_room_for_one_more() -> None:
    recipe = Recipe(prompt="a cat", image=START, controlnets=[{"checkpoint": "depth", "image": MAP}] * 2)
    fields = settable(recipe)
    assert "controlnets.2.image" in fields and "controlnets.3.checkpoint" in fields and "controlnets.3.image" not in fields
    complete = resolve(recipe)
    assert [net.scale for net in complete.controlnets] == [0.8, 0.8]


def test_a_part_of_which_nothing_is_said_is_gone() -> None:
    recipe = Recipe(image=START, controlnets=[{"checkpoint": "depth"}, {"checkpoint": "some/canny"}])
    assert recipe.replace(controlnet=None).controlnets == (ControlNet(checkpoint="some/canny"),)
    assert Recipe(mask_image=MAP).replace(mask_image=None) == Recipe()


def test_arguments_of_a_family_are_checked_by_their_declaration_or_by_the_call_that_takes_them() -> None:
    assert Recipe(aesthetic_score=7).arguments == {"aesthetic_score": 7.0}
    assert Recipe(arguments={"true_cfg_scale": 3.0}).get("true_cfg_scale") == 3.0
    with pytest.raises(ParameterError, match=r"`aesthetic_score` must be a number in \[0, 10\], got 99"):
        Recipe(aesthetic_score=99)
    with pytest.raises(ParameterError, match=r"`true_cfg_scale` must be a number in \[0, 100\], got 'much'"):
        Recipe(true_cfg_scale="much")
    assert parse_cell("img2img", "start --cfg-normalization true", "a cat").values["cfg_normalization"] is True
    with pytest.raises(ParameterError, match="`cfg_normalization` must be true or false, got 'maybe'"):
        parse_cell("img2img", "start --cfg-normalization maybe", "a cat")
    with pytest.raises(ParameterError, match="`true_cfg_scale` is not taken by sd15"):
        resolve(Recipe(prompt="a cat", image=START, true_cfg_scale=3.0))
    with pytest.raises(ParameterError, match=r"'aestetic_score' is not a parameter\. Did you mean 'aesthetic_score'"):
        Recipe(aestetic_score=6)


def test_an_argument_that_no_table_declares_reaches_the_call_and_the_program() -> None:
    complete = resolve(Recipe(prompt="a cat", image=START, eta=0.5, scheduler="DDIM"))
    assert complete.arguments == {"eta": 0.5}
    with pytest.raises(ParameterError, match="must follow"):
        Recipe(**{"controlnets.3.scale": 1})


WRITTEN_BEFORE = json.loads((Path(__file__).parent / "format_1.json").read_text())
"""Complete recipes as commit 58f126f wrote them, each with the digest that it gave them."""


@pytest.mark.parametrize("name", WRITTEN_BEFORE)
def test_what_the_store_kept_at_format_1_is_found_by_the_same_recipe(name: str, tmp_path: Path) -> None:
    written = WRITTEN_BEFORE[name]
    recipe = Recipe.from_json(json.dumps(written["json"]))
    assert digest_of_format_1(recipe) == written["digest"]
    image, fingerprint = Image.new("RGB", (64, 64), "red"), {"device": "cpu"}
    store = Store(tmp_path)
    store.put(image, Provenance(recipe, fingerprint), 1.0)
    now = store.path(recipe, fingerprint)
    text = json.dumps([written["digest"], sorted(fingerprint.items())], separators=(",", ":"))
    key = hashlib.sha256(text.encode()).hexdigest()
    then = now.parents[1] / key[:2] / f"{key}.png"
    then.parent.mkdir(parents=True, exist_ok=True)
    now.rename(then)
    assert store.get(recipe, fingerprint) is not None
    assert store.get(recipe.replace(seed=99), fingerprint) is None


def test_a_recipe_that_format_1_could_not_say_has_no_digest_of_it() -> None:
    assert digest_of_format_1(Recipe(controlnets=[{"checkpoint": "depth", "image": MAP}] * 3)) is None


def test_every_picture_of_every_part_has_a_name_that_people_say_and_every_net_an_identity() -> None:
    nets = tuple(ControlNet(checkpoint="depth", image=START) for _ in range(3))
    recipe = Recipe(prompt="a", image=START, mask_image=START, controlnets=nets)
    assert summary(recipe) == "img2img: initial image | mask | control image | control image 2 | control image 3 | result"
    entries = dict.fromkeys(("controlnet", "controlnet_2", "controlnet_3", "controlnet_12"), "0" * 64)
    assert checked(entries) == entries
    for name in ("controlnet_1", "controlnet_0", "controlnet_x", "controlnet_2 ", "controlnet_2_3", "controlnet_"):
        assert breach(name, "0" * 64) is not None
