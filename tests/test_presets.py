"""Presets: a recipe is completed, and says honestly how many steps it runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nbdiffuse import Recipe, resolve
from nbdiffuse.errors import ParameterError
from nbdiffuse.recipes.presets import PRESETS
from nbdiffuse.recipes.steps import real_steps, steps_line

pytestmark = pytest.mark.quick

IMAGE = Image.new("RGB", (128, 128), "teal")


@pytest.mark.parametrize("name", PRESETS)
def test_a_complete_recipe_stays_as_it_is(name: str) -> None:
    masked = {"mask_image": IMAGE.convert("L")} if all("+mask" in mode for mode in PRESETS[name].pipelines) else {}
    complete = resolve(Recipe(prompt="a cat", image=IMAGE, model=name, **masked))
    assert resolve(complete) == complete
    side = 128 * PRESETS[name].scale
    assert complete.seed is not None and complete.width == complete.height == side


def test_an_open_seed_is_drawn_anew() -> None:
    seeds = {resolve(Recipe(prompt="a cat")).seed for _ in range(5)}
    assert len(seeds) == 5


def test_defaults_are_those_of_the_diffusers_pipeline() -> None:
    import inspect

    import diffusers

    for preset in PRESETS.values():
        for way, pipeline in preset.pipelines.items():
            defaults = preset.defaults_for(way)
            signature = inspect.signature(getattr(diffusers, pipeline).__call__)
            for name, value in defaults.items():
                default = signature.parameters[name].default if name in signature.parameters else None
                # What stays open is not given, and is the call's own.
                if default is not None and value is not None:
                    assert default == value, (preset.name, way, name)
            assert "num_inference_steps" in signature.parameters and "num_inference_steps" in defaults
            scale = "guidance_scale" if "guidance_scale" in preset.fields else "true_cfg_scale"
            assert scale in signature.parameters and scale in defaults


@given(st.integers(1, 1000), st.floats(0, 1))
def test_real_steps_are_diffusers_own_rule(steps: int, strength: float) -> None:
    recipe = Recipe(prompt="a cat", image=IMAGE, num_inference_steps=steps, strength=strength)
    expected = min(int(steps * strength), steps)
    if expected == 0:
        with pytest.raises(ParameterError, match=r"at least one step.*raise `strength`"):
            resolve(recipe)
    else:
        assert real_steps(resolve(recipe)) == expected


def test_the_line_says_what_runs() -> None:
    line = steps_line(resolve(Recipe(prompt="a cat", image=IMAGE, strength=0.62, num_inference_steps=20)))
    assert line == "strength 0.62 × 20 → 12 steps from noise 0.92, 13 model calls"  # PNDM calls its second step twice


def test_the_two_ways_out_of_zero_steps_work() -> None:
    recipe = Recipe(prompt="a cat", image=IMAGE, strength=0.03, num_inference_steps=20)
    with pytest.raises(
        ParameterError, match=r"raise `strength` to at least 0\.05, or raise `num_inference_steps` to at least 34"
    ):
        resolve(recipe)
    assert real_steps(resolve(recipe.replace(strength=0.05))) == 1
    assert real_steps(resolve(recipe.replace(num_inference_steps=34))) == 1


def test_a_strength_without_a_picture_is_refused() -> None:
    with pytest.raises(ParameterError, match="`strength` needs an initial picture"):
        resolve(Recipe(prompt="a cat", strength=0.5))


def test_unknown_models_and_schedulers_offer_the_nearest() -> None:
    with pytest.raises(ParameterError, match="Did you mean 'sd15'"):
        resolve(Recipe(prompt="a cat", model="sd1.5"))
    with pytest.raises(ParameterError, match="Did you mean 'EulerDiscrete'"):
        resolve(Recipe(prompt="a cat", scheduler="Eulerdiscret"))


def test_large_pictures_are_scaled_to_the_native_size_unless_a_size_is_given() -> None:
    big = Image.new("RGB", (600, 400))
    complete = resolve(Recipe(prompt="a cat", image=big))
    assert (complete.width, complete.height) == (128, 88)
    assert resolve(Recipe(prompt="a cat", image=big, width=192)).height == 128
