"""The recipe: checked, frozen, hashable, and the same value as JSON."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nbdiffuse import Picture, Recipe
from nbdiffuse.errors import NbdiffuseError, ParameterError
from nbdiffuse.families.parameters import Param
from nbdiffuse.recipes.recipe import PARAMS

pytestmark = pytest.mark.quick
SELECTIONS = ["auto:alpha", "auto:subject", "auto:subject@owner/name", "text:sky", "text:red hat~0.3@segmenter"]

WRITTEN: dict[str, st.SearchStrategy[object]] = {
    "embedding": st.builds("{}.pt{}".format, st.sampled_from("ab"), st.sampled_from(["", ":word"])),
    "timesteps": st.sets(st.integers(0, 999), min_size=1, max_size=4).map(lambda found: ",".join(map(str, sorted(found)[::-1]))),
    "sigmas": st.sampled_from(["1,0.5", "14.6,3,0.1"]),
    "freeu": st.sampled_from(["0.9,0.2,1.5,1.6", "1,1,1,1"]),
    "ip_adapter_blocks": st.sampled_from(["style", "layout", "style and layout"]),
}
"""Values of texts that have a form of their own."""


def values_of(name: str, param: Param) -> st.SearchStrategy[object]:
    if PARAMS[name].kind is Picture:
        pictures = st.builds(lambda shade: Picture.of(Image.new("RGB", (64, 64), (shade, 0, 0))), st.integers(0, 255))
        colors = st.builds("color:#{:06x}~{}".format, st.integers(0, 2**24 - 1), st.integers(0, 255))
        return st.one_of(pictures, colors, st.sampled_from(SELECTIONS)) if param.mask else pictures
    if name == "extend":
        sides = st.lists(st.integers(1, 512), min_size=4, max_size=4).map("left:{0[0]},top:{0[1]},right:{0[2]}".format)
        return st.one_of(sides, st.builds("{}:{}".format, st.integers(1, 99), st.integers(1, 99)))
    if param.kind is bool:
        return st.booleans()
    if name == "lora":
        return st.builds("{}.safetensors:{:.3f}".format, st.sampled_from("ab"), st.floats(-4, 4))
    if param.kind is bool:
        return st.booleans()
    if name in WRITTEN:
        return WRITTEN[name]
    if param.choices:
        return st.sampled_from(param.choices)
    if param.kind is float:
        return st.floats(param.low, param.high)
    if param.kind is int:
        unit = int(param.step or 1) if param.multiple else 1
        return st.integers(int(param.low) // unit, int(min(param.high, 2**53)) // unit).map(lambda n: n * unit)
    return st.text(st.characters(codec="utf-8"), max_size=40)


recipes = st.fixed_dictionaries({}, optional={name: values_of(name, param) for name, param in PARAMS.items()}).map(
    lambda values: Recipe(**values)
)

NONSENSE = [
    math.nan,
    math.inf,
    -math.inf,
    True,
    False,
    "0.5",
    "",
    b"1",
    [],
    {},
    object(),
    1j,
    -1000,
    10**400,
    np.float64("nan"),
    np.bool_(True),
]


@given(recipes)
def test_a_recipe_survives_json(recipe: Recipe) -> None:
    again = Recipe.from_json(recipe.to_json())
    assert again == recipe and hash(again) == hash(recipe) and again.digest == recipe.digest


@given(recipes, recipes)
def test_recipes_are_equal_exactly_when_their_json_is(a: Recipe, b: Recipe) -> None:
    assert (a == b) == (a.to_json() == b.to_json())


@pytest.mark.parametrize("name", [name for name, param in PARAMS.items() if param.kind in (int, float)])
@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: repr(value)[:12])
def test_nonsense_numbers_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ParameterError) as caught:
        Recipe(**{name: value})
    assert f"`{name}` must be" in str(caught.value) and "\n" not in str(caught.value)


def test_numpy_scalars_are_numbers_like_any_other() -> None:
    recipe = Recipe(strength=np.float64(0.5), seed=np.int64(7))
    assert recipe == Recipe(strength=0.5, seed=7) and type(recipe.seed) is int and type(recipe.strength) is float


def test_minus_zero_and_zero_are_one_recipe() -> None:
    assert Recipe(strength=-0.0).to_json() == Recipe(strength=0.0).to_json()


def test_a_size_that_is_no_multiple_of_eight_names_the_nearest() -> None:
    with pytest.raises(ParameterError, match=r"multiple of 8.*got 130.*nearest is 128"):
        Recipe(width=130)


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(ParameterError, match="guidance_scale"):
        Recipe().replace(guidance=3)
    with pytest.raises(ParameterError, match="strength"):
        Recipe.from_dict({"strenght": 0.5})


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(ParameterError, match="prompt"):
        Recipe(prompt="\ud800")


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().seed = 3  # type: ignore[misc]


def test_pictures_count_by_their_pixels_not_by_their_names() -> None:
    red = Image.new("RGB", (64, 64), "red")
    assert Recipe(image=Picture.of(red, label="a")) == Recipe(image=np.asarray(red))
    assert Recipe(image=red) != Recipe(image=Image.new("RGB", (64, 64), "blue"))


@given(st.text(max_size=60))
def test_any_text_as_json_gives_a_recipe_or_our_error(text: str) -> None:
    for candidate in (text, json.dumps({"format": 1, text: text}), json.dumps({"format": 3})):
        try:
            Recipe.from_json(candidate)
        except NbdiffuseError as error:
            assert "\n" not in str(error)
