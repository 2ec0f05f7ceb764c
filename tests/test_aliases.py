"""The words of other tools: each is answered with what to write here, and never with a wrong neighbour."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdiffuse import Recipe, sweep
from nbdiffuse.cells.chains import parse_chain
from nbdiffuse.cells.flags import flag
from nbdiffuse.cells.loopbacks import parse_loopback
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.errors import ParameterError, did_you_mean, nearest
from nbdiffuse.families.aliases import _ALIASES, _LINES, unknown_parameter
from nbdiffuse.families.arguments import ARGUMENTS
from nbdiffuse.recipes.recipe import CORE, PARAMS

HERE = {
    "steps": "num_inference_steps",
    "sampling_steps": "num_inference_steps",
    "cfg": "guidance_scale",
    "cfg-scale": "guidance_scale",
    "CFG_scale": "guidance_scale",
    "cfgScale": "guidance_scale",
    "sampler": "scheduler",
    "sampler-name": "scheduler",
    "denoise": "strength",
    "denoising-strength": "strength",
    "denoisingStrength": "strength",
    "mask": "mask_image",
    "negative": "negative_prompt",
    "neg": "negative_prompt",
    "noise_seed": "seed",
    "ckpt": "checkpoint",
    "W": "width",
    "H": "height",
}
PART_NAMES = ("mask",)
"""In Python a part is called so."""
NONE_YET = ("hires", "hires_fix", "tiling", "restore-faces", "seed_resize")


def refusal(line: str, task: str = "img2img") -> str:
    with pytest.raises(ParameterError) as caught:
        parse_cell(task, f"cat.png {line}" if task == "img2img" else line, "a cat")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("word", "name"), HERE.items())
def test_an_option_of_another_tool_is_answered_with_ours(word: str, name: str) -> None:
    short = f" ({PARAMS[name].short})" if PARAMS[name].short else ""
    dashed = f"-{word}" if len(word) == 1 else f"--{word}"
    assert refusal(f"{dashed} 3") == f"{dashed!r} is not an option of %%img2img. Here it is `{flag(name)}`{short}."
    if word in PART_NAMES:
        return
    with pytest.raises(ParameterError, match=f"^'{word.replace('-', '_')}' is not a parameter. Here it is `{name}`.$"):
        Recipe(**{"prompt": "a cat", word.replace("-", "_"): 3})


@pytest.mark.quick
def test_the_same_holds_wherever_a_field_is_named() -> None:
    base = Recipe(prompt="a cat")
    asked = [
        lambda: base.replace(cfg=3),
        lambda: sweep(base, cfg=[3, 4]),
        lambda: sweep(base >> base, **{"2.cfg": [3, 4]}),
        lambda: Recipe.from_json('{"format": 1, "prompt": "a cat", "cfg": 3}'),
        lambda: parse_cell("txt2img", "--cfg 3", "a cat"),
        lambda: parse_chain("--cfg 3", "[sd15]\na cat"),
        lambda: parse_chain("", "[sd15 --cfg 3]\na cat"),
        lambda: parse_loopback("cat.png --cfg 3", "a cat"),
        lambda: sweep(base, guidance_scale=[3, 4]).sel(cfg=3),
    ]
    for ask in asked:
        with pytest.raises(ParameterError, match=r"Here it is `(--)?guidance.scale`"):
            ask()


@pytest.mark.quick
@pytest.mark.parametrize("word", NONE_YET)
def test_what_has_no_counterpart_is_said_plainly(word: str) -> None:
    assert "It has no counterpart here yet." in refusal(f"--{word} 1")
    assert "It has no counterpart here yet." in unknown_parameter(word.replace("-", "_"), PARAMS)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("line", "way_out"),
    [
        ("--size 512x512", "Here it is `--width` and `--height`."),
        ("--batch-size 4", "`--seed` 1..4 makes several; so does `--num-images-per-prompt` 4"),
        ("--n 4", "`--seed` 1..4 makes several; so does `--num-images-per-prompt` 4"),
        ("--init-image x.png", "The initial picture stands right after %%img2img"),
        ("--prompt cat", "The prompt is the body of the cell"),
        ("--output x.png", "`--out` names the variable of the result, and `--save` its file."),
        ("--help", "`%%img2img?` lists every option."),
        ("--loops 3", "`%%loopback` takes it: `--passes`."),
        ("steps=30", "Options of %%img2img are written `--num-inference-steps 30`."),
        ("--str .5", "Did you mean '--strength'?"),
        ("--stpes 5", "Did you mean '--num-inference-steps'?"),
        ("--prompt_3 x", "`%%img2img?` lists every option."),
        ("--quux 5", "is not an option of %%img2img. `%%img2img?` lists every option."),
    ],
)
def test_other_words_get_a_line_of_their_own(line: str, way_out: str) -> None:
    assert way_out in refusal(line)


@pytest.mark.parametrize("word", ["--strength", "--denoise", "--strenght", "--init-img"])
def test_text_to_image_says_which_magic_takes_a_picture(word: str) -> None:
    assert "It needs an initial picture: use `%%img2img PICTURE" in refusal(f"{word} .5", "txt2img")


def test_no_word_of_another_tool_is_an_option_here_or_stands_for_two() -> None:
    assert not set(_ALIASES) & set(PARAMS) and not set(_ALIASES) & set(_LINES)
    # A family's own arguments are options where the family takes them; elsewhere the line says what they are.
    assert set(_LINES) & set(PARAMS) <= {*ARGUMENTS, *CORE}


def test_a_slip_is_recognised_and_another_word_is_not() -> None:
    known = [*PARAMS, "out", "save", "measure", "yes", "panel", "executor"]
    for word, meant in [
        ("strenght", "strength"),
        ("widht", "width"),
        ("sede", "seed"),
        ("num-inferense-steps", "num_inference_steps"),
    ]:
        assert nearest(word, known) == meant
    # Each of these was offered a neighbour that means something else.
    for word in ("mask_", "steps", "sampler", "size", "batch", "vae", "eta", "denoise", "cfg"):
        assert nearest(word, [name for name in known if not name.startswith(word)]) is None, word
    assert did_you_mean("flux", ["sd15", "sdxl"]) == "Known: sd15, sdxl."


@settings(max_examples=200)
@given(st.text(max_size=120))
def test_any_name_gets_one_line(word: str) -> None:
    line = unknown_parameter(word, PARAMS)
    assert "\n" not in line and line.endswith((".", "?"))


def test_a_recipe_says_that_its_values_are_named() -> None:
    with pytest.raises(ParameterError, match="`Recipe` must be given values by name"):
        Recipe("a cat")  # type: ignore[misc]


def test_a_name_that_is_twice_in_a_recipes_json_is_refused() -> None:
    with pytest.raises(ParameterError, match="`seed` must be given once"):
        Recipe.from_json('{"format": 1, "prompt": "a cat", "seed": 1, "seed": 2}')


@pytest.mark.parametrize(
    ("part", "rule"), [("mask", "a Mask"), ("loras", "a list of Lora"), ("controlnets", "a list of ControlNet")]
)
def test_a_part_that_is_none_is_one_line(part: str, rule: str) -> None:
    with pytest.raises(ParameterError, match=f"^`{part}` must be {rule}, got 3"):
        Recipe(prompt="a cat", **{part: 3})
