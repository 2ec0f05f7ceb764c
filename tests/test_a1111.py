"""The generation text of other tools: written as they write it, read without ever failing."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strangers
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file

from nbdiffuse import Recipe, resolve
from nbdiffuse.errors import ParameterError
from nbdiffuse.families.schedulers import SCHEDULERS
from nbdiffuse.metadata import resources
from nbdiffuse.metadata.a1111 import generation_text, looks_like_generation_text, parse
from nbdiffuse.recipes.lora import read
from nbdiffuse.recipes.recipe import PARAMS

IMAGE = Image.new("RGB", (64, 64), "teal")
PROMPTS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1, max_size=60).map(str.strip).filter(bool)


@given(
    prompt=PROMPTS.filter(lambda text: "negative prompt" not in text.lower()),
    negative=PROMPTS,
    strength=st.floats(0.1, 1),
    guidance=st.floats(0, 100),
    steps=st.integers(10, 50),
    seed=st.integers(0, 2**53),
    scheduler=st.sampled_from(sorted(SCHEDULERS)),
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
        "use_karras_sigmas": True,
        "guidance_scale": 7.0,
        "seed": 965400086,
        "clip_skip": 1,
        "width": 512,
        "height": 768,
        "strength": 0.75,
    }
    assert [line.split(". ")[0] for line in parsed.left_out] == [
        "Not carried over: Model: 'v1, 5', hash '6ce0161689'",
    ]


@pytest.mark.parametrize("text", ["a cat", "a cat\nSteps: 20", "Steps: a, few, words"])
def test_without_a_line_of_parameters_it_is_just_a_prompt(text: str) -> None:
    assert parse(text).values == {"prompt": text}


def test_values_out_of_range_are_left_out_with_their_rule() -> None:
    parsed = parse("a cat\nSteps: 0, CFG scale: nan, Seed: -1, Size: 510x512, Denoising strength: 7")
    assert parsed.values == {"prompt": "a cat"}
    assert len(parsed.left_out) == 5 and all("must be" in line for line in parsed.left_out)


LINE = "Steps: 20, Sampler: DDIM, CFG scale: 7, Seed: 5"


def test_numbers_are_written_as_short_as_they_can_be() -> None:
    text = generation_text(resolve(Recipe(prompt="a cat", image=IMAGE, strength=0.8, guidance_scale=7, seed=1)), "1")
    assert "CFG scale: 7, " in text and "Denoising strength: 0.8, " in text


def test_a_model_hash_stands_before_the_model() -> None:
    recipe = resolve(Recipe(prompt="a cat", seed=1))
    assert "Size: 128x128, Model hash: 6ce0161689, Model: sd15, RNG" in generation_text(recipe, "1", model_hash="6ce0161689")
    assert "Model hash" not in generation_text(recipe, "1")


def test_an_incomplete_recipe_has_no_text() -> None:
    with pytest.raises(ParameterError, match="resolve"):
        generation_text(Recipe(prompt="a cat"), "1")


@pytest.mark.parametrize("prompt", [f"a cat\n{LINE}", LINE, "", "  indented\n\n  twice", 'say "a: b", c'])
@pytest.mark.parametrize("negative", ["", "ugly", f"ugly\n{LINE}", "Negative prompt: twice"])
def test_prompts_that_look_like_parameters_are_read_back(prompt: str, negative: str) -> None:
    values = parse(generation_text(resolve(Recipe(prompt=prompt, negative_prompt=negative, seed=3)), "1")).values
    assert (values["prompt"], values.get("negative_prompt", ""), values["seed"]) == (prompt.strip(), negative, 3)


@pytest.mark.parametrize("model", ["sd15", 'a, "b": c', " blank ", "Steps: 9, Seed: 9, CFG scale: 9", "512x512", "\\", '"'])
@pytest.mark.parametrize("scheduler", ["DDIM", "KDPM2Discrete", "LMSDiscrete"])
def test_our_own_text_brings_back_its_model_and_any_scheduler(model: str, scheduler: str) -> None:
    recipe = Recipe(prompt="a cat", model=model, scheduler=scheduler, num_inference_steps=5, seed=1)
    parsed = parse(generation_text(recipe, "1"))
    assert (parsed.values["model"], parsed.values["scheduler"], parsed.values["seed"]) == (model, scheduler, 1)


@pytest.mark.parametrize("text", [f"a cat\n{LINE}\n", f"\n a cat \n{LINE}  \n\n", f"a cat\r\n{LINE}\r\n"])
def test_blank_space_and_windows_line_ends_around_a_paste_do_no_harm(text: str) -> None:
    assert parse(text).values["prompt"] == "a cat" and parse(text).values["num_inference_steps"] == 20
    assert looks_like_generation_text(text)


@pytest.mark.parametrize("text", ["Subject: cat, Style: oil, Mood: calm", "a cat\nSteps: 20", "", "a cat, a dog, a hat"])
def test_a_prompt_with_colons_stays_a_prompt(text: str) -> None:
    assert parse(text).values == {"prompt": text} and not looks_like_generation_text(text)


def test_a_missing_negative_prompt_is_not_an_empty_one() -> None:
    assert "negative_prompt" not in parse(f"a cat\n{LINE}").values
    assert parse(f"a cat\nNegative prompt:\n{LINE}").values["negative_prompt"] == ""


@pytest.mark.parametrize("number", ["1_0", "٣", "0x10", "1e1", "10.5", "9" * 5000, "", "-"])
def test_only_plain_digits_are_a_whole_number(number: str) -> None:
    parsed = parse(f"a cat\nSteps: {number}, Sampler: DDIM, Seed: 5")
    assert "num_inference_steps" not in parsed.values and "must be a whole number" in parsed.left_out[0]


def test_the_strength_of_a_hires_pass_is_not_ours() -> None:
    parsed = parse(f"a cat\n{LINE}, Denoising strength: 0.7, Hires upscale: 2")
    assert "strength" not in parsed.values and "second pass" in parsed.left_out[0]


def test_what_changes_nothing_is_not_reported_and_the_rest_is() -> None:
    assert parse(f"a cat\n{LINE}, RNG: CPU, Clip skip: 1, Schedule type: Automatic").left_out == ()
    lines = parse(f'a cat\n{LINE}, RNG: NV, Schedule type: Karras, Foo/bar 2: "a, \\"b\\""').left_out
    assert [line.removeprefix("Not carried over: ") for line in lines] == [
        "RNG: 'NV'.",
        "Schedule type: 'Karras', no setting here does the same.",
        "Foo/bar 2: 'a, \"b\"'.",
    ]


@pytest.mark.parametrize(
    ("said", "values"),
    [
        ("Sampler: DPM++ 2M, Schedule type: Karras", {"scheduler": "DPMSolverMultistep", "use_karras_sigmas": True}),
        ("Sampler: DPM++ 2M, Schedule type: Automatic", {"scheduler": "DPMSolverMultistep", "use_karras_sigmas": True}),
        ("Sampler: Euler a, Schedule type: Automatic", {"scheduler": "EulerAncestralDiscrete"}),
        ("Sampler: Euler, Schedule type: SGM Uniform", {"scheduler": "EulerDiscrete", "timestep_spacing": "trailing"}),
        (
            "Sampler: DPM++ 3M SDE, Schedule type: Exponential",
            {
                "scheduler": "DPMSolverMultistep",
                "algorithm_type": "sde-dpmsolver++",
                "solver_order": 3,
                "use_exponential_sigmas": True,
            },
        ),
    ],
)
def test_a_sampler_with_its_schedule_comes_in_whole(said: str, values: dict[str, Any]) -> None:
    parsed = parse(f"a cat\nSteps: 20, {said}, CFG scale: 7, Seed: 5")
    assert {name: value for name, value in parsed.values.items() if name in values} == values and parsed.left_out == ()
    assert len(parsed.values) == 4 + len(values)


def test_what_is_set_of_a_scheduler_goes_out_in_that_tools_words_and_comes_back() -> None:
    given = {"scheduler": "DPMSolverMultistep", "use_karras_sigmas": True, "euler_at_final": True, "solver_order": 3}
    recipe = resolve(Recipe(prompt="a cat", seed=1, **given))
    text = generation_text(recipe, "1")
    assert "Sampler: DPM++ 3M, Schedule type: Karras, " in text and "Scheduler config: " in text
    back = parse(text)
    assert {name: back.values[name] for name in given} == given and back.left_out == ()
    foreign = parse(text.replace("Version: nbdiffuse 1", "Version: v1.10"))
    assert "euler_at_final" not in foreign.values and foreign.values["use_karras_sigmas"] is True


def test_a_sampler_that_nothing_here_does_is_named() -> None:
    parsed = parse("a cat\nSteps: 20, Sampler: DPM fast, Seed: 5")
    assert "scheduler" not in parsed.values and "DPM fast" in parsed.left_out[0]


def test_a_character_that_is_no_unicode_is_replaced_and_reported() -> None:
    parsed = parse("a \ud800 cat")
    assert parsed.values == {"prompt": "a ? cat"} and len(parsed.left_out) == 1


PIECES = st.sampled_from(
    [
        "Steps: 20",
        "Seed: ",
        '"\\ud800"',
        '"',
        "\\",
        ",",
        ":",
        "\n",
        "x",
        "Size: 1x1",
        "Model: ",
        "Version: nbdiffuse",
        " ",
        "é\u2028",
    ]
)


@given(st.lists(PIECES, max_size=30).map("".join) | st.text(st.characters(), max_size=200))
def test_hostile_text_gives_values_a_recipe_takes_and_lines_of_one_line(text: str) -> None:
    parsed = parse(text)
    Recipe(**parsed.values)
    assert all(len(line.splitlines()) == 1 and len(line) < 400 for line in parsed.left_out)


@pytest.mark.parametrize(
    "unit", ["a", " ", ", ", "a,", "a: ", 'a:"', 'a: "\\",', "a b-", "\n", "Steps: 1, ", "a:[", 'a: ["",', "a:{", "\nSteps: "]
)
def test_a_megabyte_of_text_is_read_in_seconds(unit: str) -> None:
    started = time.process_time()
    parsed = parse("Steps: 1, Seed: 1, CFG scale: 1, " + unit * (1_000_000 // len(unit)))
    assert time.process_time() - started < 3 and len(parsed.left_out) <= 21


def test_many_unknown_entries_are_counted() -> None:
    parsed = parse(f"a cat\n{LINE}, " + ", ".join(f"key {index}: 1" for index in range(50)))
    assert len(parsed.left_out) == 21 and "30 more" in parsed.left_out[-1]


@pytest.mark.parametrize("dialect", ["none", "compel", "a1111"])
def test_the_dialect_of_the_prompt_comes_back_and_the_prompt_is_as_typed(dialect: str) -> None:
    recipe = resolve(Recipe(prompt="a (cat:1.3), jungle++", negative_prompt="[x]", weighting=dialect, seed=1))
    text = generation_text(recipe, "1.0")
    assert text.startswith("a (cat:1.3), jungle++\nNegative prompt: [x]\n")
    parsed = parse(text)
    assert parsed.values.get("weighting", "none") == dialect and parsed.left_out == ()
    assert "weighting" not in parse("a (cat:1.3)\nSteps: 20, CFG scale: 7, Seed: 1, Version: v1.9.4").values
    assert "must be one of" in parse("a cat\nSteps: 20, Weighting: x, Seed: 1").left_out[0]


@pytest.mark.parametrize(
    "head", ["Negative Prompt:", "NEGATIVE PROMPT:", "negative prompt:", "  Negative prompt :", "negative_prompt:"]
)
def test_a_negative_prompt_is_one_in_any_case(head: str) -> None:
    for line in ("", f"\n{LINE}"):
        values = parse(f"a cat\n{head} a dog{line}").values
        assert (values["prompt"], values["negative_prompt"]) == ("a cat", "a dog")


@pytest.mark.parametrize(
    "behind",
    [
        "Template: a {red|blue} boat\nNegative Template: fog",
        "Template: a {red|blue} boat\nof __wood__, Seed: 7",
        "Negative Template: fog",
        "Time taken: 3.2 sec.\n\nA: 2.5 GB, R: 3 GB",
    ],
)
def test_what_stands_behind_the_parameters_lands_in_no_prompt_and_is_said(behind: str) -> None:
    parsed = parse(f"a red boat\nNegative prompt: fog\n{LINE}\n{behind}")
    assert (parsed.values["prompt"], parsed.values["negative_prompt"], parsed.values["seed"]) == ("a red boat", "fog", 5)
    for line in filter(None, behind.split("\n")):
        assert any(line in said for said in parsed.left_out), line


@pytest.mark.parametrize(
    "value",
    [
        '[{"modelName":"x","modelVersionName":"v1, Seed: 7"}]',
        '{"a, Seed: 7, b": [1, 2]}',
        '"a, Seed: 7"',
        '[{"x": "Seed: 7, ]"}]',
    ],
)
def test_a_key_inside_a_value_is_no_key(value: str) -> None:
    for line in (f"{LINE}, Civitai resources: {value}", f"Civitai resources: {value}, {LINE}"):
        parsed = parse(f"a red boat\n{line}")
        assert parsed.values["seed"] == 5 and len(parsed.left_out) == 1


@pytest.mark.parametrize(
    ("entry", "model"),
    [
        ("Size: 512x512, Model: someXLmodel_v6", "sdxl"),
        ("Size: 1024x1024", "sdxl"),
        ("Size: 1024x1024, Model: mine", "sdxl"),
        ("Size: 832x1216, Model: mine, Model hash: 0123456789", "sdxl"),
        ("Size: 1024x1024, Denoising strength: 0.5, Model: mine", None),
        ("Size: 1024x1024, Denoising strength: 0.5, Hires upscale: 2, Model: mine", None),
        ("Size: 512x512, Model: flux1-dev", None),
        ("Size: 512x512, Model: v1-5-pruned", None),
        ("Size: 512x512, Pipeline: StableDiffusionXLPipeline, Model: mine", "sdxl"),
        ("Size: 512x512, Model hash: 0123456789", None),
    ],
)
def test_the_model_chooses_the_preset_or_is_said(entry: str, model: str | None) -> None:
    parsed = parse(f"a cat\n{LINE}, {entry}")
    assert parsed.values.get("model") == model
    [line] = [line for line in parsed.left_out if line.startswith("Not carried over: Model")]
    assert f"The cell runs {model or 'sd15'}'s own weights" in line and "--checkpoint" in line


def test_without_a_word_about_the_model_there_is_no_line() -> None:
    assert parse(f"a cat\n{LINE}, Size: 512x768").left_out == ()


LORA = "/home/me/my styles/ink, old.safetensors:0.8 + org/repo/fog.safetensors"


@pytest.mark.parametrize(
    ("checkpoint", "shown", "comes_back"),
    [
        ("sd15", "Model: sd15,", None),
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", "Model: stable-diffusion-v1-5,", True),
        ("org/dreams@main", "Model: dreams,", True),
        ("org/dreams/dreams_v2.safetensors", "Model: dreams_v2,", True),
        ("/home/me/dreams_v3.safetensors", "Model: dreams_v3,", False),
        ("/home/me/My Dreams", "Model: My Dreams,", False),
        ("C:\\Users\\me\\dreams.ckpt", "Model: dreams,", False),
    ],
)
def test_our_text_names_checkpoint_and_lora_as_automatic1111_does(checkpoint: str, shown: str, comes_back: bool | None) -> None:
    recipe = Recipe(prompt="a boat", seed=1, num_inference_steps=2, scheduler="DDIM", checkpoint=checkpoint, lora=LORA)
    text = generation_text(recipe, "1", model_hash="0123456789", lora_hashes="ink, old: 0123456789ab")
    assert text.startswith("a boat <lora:ink, old:0.8> <lora:fog:1>\n")
    assert shown in text and "Model hash: 0123456789" in text and 'Lora hashes: "ink, old: 0123456789ab"' in text
    assert "/home" not in text and "Users" not in text
    theirs = strangers.as_automatic1111_reads(text)
    assert (theirs["Prompt"], theirs["Steps"]) == ("a boat <lora:ink, old:0.8> <lora:fog:1>", "2")
    assert f"Model: {theirs['Model']}," in text and theirs["Lora hashes"] == "ink, old: 0123456789ab"
    parsed = parse(text)
    assert (parsed.values["prompt"], parsed.values["model"]) == ("a boat", "sd15")
    assert parsed.values["lora"] == "ink, old.safetensors:0.8 + org/repo/fog.safetensors"
    assert parsed.values.get("checkpoint") == (checkpoint if comes_back else None)
    assert len(parsed.left_out) == (1 if comes_back is False else 0)


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        ("org/name:0.5", "org/name:0.5"),
        ("org/name/ink.safetensors", "org/name/ink.safetensors"),
        ("ada/ink.safetensors:0.5", "ink.safetensors:0.5"),
        ("C:\\Users\\ada\\ink.safetensors", "ink.safetensors"),
        ("~/ink.safetensors + ./fog.safetensors:-1", "ink.safetensors + fog.safetensors:-1"),
        ("~/ink.safetensors:0.8:text_encoder=0.5", "ink.safetensors:0.8:text_encoder=0.5"),
    ],
)
def test_a_lora_has_its_name_or_its_repository_in_a_text_and_no_folder(lora: str, said: str) -> None:
    text = generation_text(Recipe(prompt="a", seed=1, num_inference_steps=2, lora=lora), "1")
    assert parse(text).values["lora"] == said and parse(text).values["prompt"] == "a" and "ada" not in text
    assert ("<lora:ink:0.5:0.8>" in text) == ("text_encoder" in said)


@pytest.mark.parametrize("said", ["/etc/passwd", "~/x", "../x/y", "./x", "https://evil/x", "a/../b", "\\\\host\\x", "a\0/b"])
def test_a_text_that_claims_to_be_ours_reaches_no_path(said: str) -> None:
    quoted = json.dumps(f"{said}.safetensors")
    parsed = parse(f"a\n{LINE}, Model: m, Preset: sd15, Checkpoint: {quoted}, LoRA: {quoted}, Version: nbdiffuse 1")
    assert "checkpoint" not in parsed.values
    assert "/" not in parsed.values.get("lora", "") and "\\" not in parsed.values.get("lora", "")


@pytest.mark.parametrize("own", [None, "5cf1ab7e0e3d" + "0" * 52])
def test_the_hash_of_a_lora_is_that_of_automatic1111(tmp_path: Path, own: str | None) -> None:
    tensors = {"a": np.arange(6, dtype=np.float32)}
    save_file(tensors, tmp_path / "ink.safetensors", metadata={"sshs_model_hash": own} if own else {"other": "x"})
    whole = (tmp_path / "ink.safetensors").read_bytes()
    behind = whole[8 + int.from_bytes(whole[:8], "little") :]
    expected = own[:12] if own else hashlib.sha256(behind).hexdigest()[:12]
    assert resources.lora_hashes(read(f"{tmp_path / 'ink.safetensors'}:0.5 + org/repo/x.safetensors")) == f"ink: {expected}"
    for damaged in (b"", b"\xff" * 8, whole[:9], b"\2" + b"\0" * 7 + b"[]"):
        (tmp_path / "b.safetensors").write_bytes(damaged)
        assert resources.lora_hash(str(tmp_path / "b.safetensors")) in (None, hashlib.sha256(b"").hexdigest()[:12])


def test_the_hash_of_a_single_file_is_that_of_its_content() -> None:
    identity = "0123456789" + "a" * 54
    single = Recipe(checkpoint="/x/dreams.safetensors")
    assert resources.model_hash(single, f"{identity}+{identity}:1") == "0123456789"
    assert resources.model_hash(Recipe(checkpoint="/x/dreams"), identity) is None
    assert resources.model_hash(single, "") is None
