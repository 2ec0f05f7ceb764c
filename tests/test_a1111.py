"""The generation text of other tools: written as they write it, read without ever failing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nbdiffuse import Recipe, resolve
from nbdiffuse.a1111 import SAMPLERS, generation_text, parse
from nbdiffuse.recipe import PARAMS

IMAGE = Image.new("RGB", (64, 64), "teal")
PROMPTS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1, max_size=60).map(str.strip).filter(bool)


@given(
    prompt=PROMPTS.filter(lambda text: "Negative prompt:" not in text),
    negative=PROMPTS,
    strength=st.floats(0.1, 1),
    guidance=st.floats(0, 100),
    steps=st.integers(10, 1000),
    seed=st.integers(0, 2**53),
    scheduler=st.sampled_from(sorted(SAMPLERS.values())),
)
def test_what_is_written_is_read_back(
    prompt: str, negative: str, strength: float, guidance: float, steps: int, seed: int, scheduler: str
) -> None:
    recipe = resolve(
        Recipe(
            prompt=prompt,
            negative_prompt=negative,
            image=IMAGE,
            strength=strength,
            guidance_scale=guidance,
            num_inference_steps=steps,
            seed=seed,
            scheduler=scheduler,
        )
    )
    parsed = parse(generation_text(recipe, "1"))
    assert parsed.left_out == ()
    assert parsed.values == {name: getattr(recipe, name) for name in parsed.values}
    assert set(parsed.values) >= {"prompt", "negative_prompt", "strength", "seed", "scheduler", "width", "height"}


@given(st.text(max_size=300))
def test_any_text_is_read_without_an_error_and_every_value_is_checked(text: str) -> None:
    values = parse(text).values
    for name, value in values.items():
        if PARAMS[name].kind is not str:
            PARAMS[name].check(name, value)


def test_a_text_of_another_tool_is_carried_over_and_the_rest_is_named() -> None:
    text = (
        "a cat, (masterpiece:1.2)\nin a hat\nNegative prompt: ugly,\nblurry\n"
        "Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 965400086, Size: 512x768, Model hash: 6ce0161689, "
        'Model: "v1, 5", Denoising strength: 0.75, Clip skip: 2, Version: v1.9.4'
    )
    parsed = parse(text)
    assert parsed.values == {
        "prompt": "a cat, (masterpiece:1.2)\nin a hat",
        "negative_prompt": "ugly,\nblurry",
        "num_inference_steps": 20,
        "scheduler": "DPMSolverMultistep",
        "guidance_scale": 7.0,
        "seed": 965400086,
        "width": 512,
        "height": 768,
        "strength": 0.75,
    }
    assert [line.split(".")[0] for line in parsed.left_out] == [
        "Not carried over: the Karras schedule of the sampler",
        "Not carried over: Clip skip: '2'",
    ]


@pytest.mark.parametrize("text", ["a cat", "a cat\nSteps: 20", "Steps: a, few, words"])
def test_without_a_line_of_parameters_it_is_just_a_prompt(text: str) -> None:
    assert parse(text).values == {"prompt": text}


def test_values_out_of_range_are_left_out_with_their_rule() -> None:
    parsed = parse("a cat\nSteps: 0, CFG scale: nan, Seed: -1, Size: 510x512, Denoising strength: 7")
    assert parsed.values == {"prompt": "a cat"}
    assert len(parsed.left_out) == 5 and all("must be" in line for line in parsed.left_out)
