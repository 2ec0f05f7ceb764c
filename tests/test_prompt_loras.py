"""LoRA named in a prompt: they become the option where their file is here, and never reach the text encoder as words."""

from __future__ import annotations

from pathlib import Path

import diffusers
import pytest
import sd_parsers
import strangers
from hypothesis import given
from hypothesis import strategies as st
from test_lora import write_lora

from nbdiffuse import Recipe, Session, embedded, resolve
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.errors import ParameterError
from nbdiffuse.metadata import image_files, resources
from nbdiffuse.prompts import dialects
from nbdiffuse.prompts.extras import networks, read_as_words, without
from nbdiffuse.recipes import prompt_loras
from nbdiffuse.recipes.lora import text_of
from nbdiffuse.recipes.summary import notices


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with one LoRA, and a configured folder with another in a subfolder."""
    here, there = tmp_path / "here", tmp_path / "there" / "styles"
    for parent, name in ((here, "ink.safetensors"), (there, "old fog.v2.safetensors")):
        parent.mkdir(parents=True)
        (parent / name).touch()
    monkeypatch.chdir(here)
    monkeypatch.setenv(prompt_loras.FOLDER, str(tmp_path / "there"))
    return tmp_path


@pytest.mark.parametrize(
    ("prompt", "left", "lora"),
    [
        ("a boat <lora:ink:0.8>", "a boat", "ink.safetensors:0.8"),
        ("a boat, <lora:ink:0.8>, at sea", "a boat, at sea", "ink.safetensors:0.8"),
        ("<lora:ink>, a boat", "a boat", "ink.safetensors"),
        ("a boat <lora:ink:0.5:1>", "a boat", "ink.safetensors:text_encoder=0.5"),
        ("a boat <lora:ink:0.5:0.5>", "a boat", "ink.safetensors:0.5"),
        ("a boat <lora:ink:te=0.2:unet=0.9>", "a boat", "ink.safetensors:0.9:text_encoder=0.2"),
        ("a boat <LORA:ink.safetensors:-1>", "a boat", "ink.safetensors:-1"),
        ("a boat<lyco:ink:.5:.5>", "a boat", "ink.safetensors:0.5"),
        ("a boat <lo<lora:ink:0.5>ra:ink:0.5>", "a boat", "ink.safetensors:0.5"),
    ],
)
def test_a_lora_in_a_prompt_becomes_the_option(prompt: str, left: str, lora: str) -> None:
    complete = resolve(Recipe(prompt=prompt, seed=1))
    assert (complete.prompt, text_of(complete.loras) or None) == (left, lora)
    assert resolve(complete) == complete


def test_a_file_in_the_configured_folder_is_found_in_its_subfolders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    complete = resolve(Recipe(prompt="a boat <lora:old fog.v2:0.3>", seed=1))
    assert text_of(complete.loras) == f"{folder / 'there' / 'styles' / 'old fog.v2.safetensors'}:0.3"
    monkeypatch.delenv(prompt_loras.FOLDER)
    with pytest.raises(ParameterError, match=prompt_loras.FOLDER):
        resolve(Recipe(prompt="a boat <lora:old fog.v2:0.3>", seed=1))


def test_a_file_that_the_option_gives_takes_the_weight_of_the_prompt() -> None:
    assert (
        text_of(resolve(Recipe(prompt="a <lora:far:0.4>", lora="some/far.safetensors", seed=1)).loras)
        == "some/far.safetensors:0.4"
    )
    assert text_of(resolve(Recipe(prompt="a", lora="some/far.safetensors:1", seed=1)).loras) == "some/far.safetensors"
    with pytest.raises(ParameterError, match=r"weight 0\.9"):
        resolve(Recipe(prompt="a <lora:far:0.4>", lora="some/far.safetensors:0.9", seed=1))


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
@pytest.mark.parametrize(
    "network", ["<lora:none:1>", "<hypernet:ink:1>", "<lora:ink:9>", "<lora:ink:0.5:9>", "<lora:ink:1:1:1>", "<lora:ink:1:lbw=X>"]
)
def test_a_network_that_cannot_be_added_is_refused_before_a_run_and_taken_out_of_a_cell(field: str, network: str) -> None:
    with pytest.raises(ParameterError, match=f"`{field}` must name networks that are here") as caught:
        resolve(Recipe(**{"prompt": "a cat", field: f"a boat {network}"}, seed=1))
    assert network in str(caught.value)
    body = f"a boat {network}" if field == "prompt" else f"a cat\nNegative prompt: a boat {network}"
    cell = parse_cell("txt2img", "", body)
    assert cell.values[field] == "a boat"
    assert len(cell.notices) == 1 and network in cell.notices[0] and field in cell.notices[0]


def test_alternatives_of_a_cell_may_name_different_networks() -> None:
    cell = parse_cell("txt2img", "--lora far.safetensors", "a boat {<lora:ink:0.8>|<lora:far:0.2>|<lora:none:1>}")
    complete = [resolve(Recipe(prompt=prompt, lora=cell.values["lora"], seed=1)) for prompt in cell.axes["prompt"]]
    assert [one.prompt for one in complete] == ["a boat"] * 2 + ["a boat "]
    assert [text_of(one.loras) or None for one in complete] == [
        "far.safetensors + ink.safetensors:0.8",
        "far.safetensors:0.2",
        "far.safetensors",
    ]
    assert len(cell.notices) == 1


@pytest.mark.parametrize("name", ["../there/styles/old fog.v2", "/etc/passwd", "~/ink", "..", "here/ink", "*", "i?k", "\\ink"])
def test_a_name_never_becomes_a_path(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prompt_loras.find(name) is None


def test_the_pixels_are_those_of_the_option(folder: Path) -> None:
    base = diffusers.StableDiffusionPipeline.from_pretrained(embedded.path("sd15"))
    write_lora(folder / "here", "drawn.safetensors", base.unet, 3)
    session = Session()
    plain = Recipe(prompt="a cat", num_inference_steps=2, seed=1)
    option = session.run(plain.replace(lora="drawn.safetensors:0.8"))
    named = session.run(plain.replace(prompt="a cat <lora:drawn:0.8>"))
    assert named.recipe == option.recipe and named.image.tobytes() == option.image.tobytes()
    assert option.image.tobytes() != session.run(plain).image.tobytes()
    for suffix in (".png", ".jpg"):
        text = image_files.read(named.save(folder / f"drawn{suffix}")).parameters
        said = strangers.as_automatic1111_reads(text or "")
        assert said["Prompt"] == "a cat <lora:drawn:0.8>"
        assert said["Lora hashes"] == f"drawn: {resources.lora_hash(str(folder / 'here' / 'drawn.safetensors'))}"
        parser = sd_parsers.ParserManager().parse(folder / f"drawn{suffix}")
        assert parser is not None and parser.full_prompt == said["Prompt"]
    assert "lora" not in repr(session.tokens(plain.replace(prompt="a cat <lora:drawn:0.8>")))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a [red:blue:0.5] boat", ["[red:blue:0.5]"]),
        ("a [red:8] boat [blue::4]", ["[red:8]", "[blue::4]"]),
        ("a [cow|horse] at sea", ["[cow|horse]"]),
        ("a boat AND a harbour", ["AND"]),
        ("a boat BREAK a harbour", ["BREAK"]),
        ("a __color__ boat, __deep/*__", ["__color__", "__deep/*__"]),
        ("embedding:bad_hands-5, (embedding:easy.neg:1.2)", ["embedding:bad_hands-5", "embedding:easy.neg"]),
        ("A CAT AND A DOG", []),
        ("a [old] cat, 16:9, snake__case, band, break", []),
    ],
)
def test_signs_that_mean_more_to_another_tool_are_said(text: str, shown: list[str]) -> None:
    lines = read_as_words(text)
    assert len(lines) == len(shown) and all(f"`{one}`" in line for one, line in zip(shown, lines, strict=True))
    assert set(lines) <= set(notices(resolve(Recipe(prompt=text, seed=1))))
    assert set(dialects.hints("a1111", text)) <= {line for line in lines if "ComfyUI" in line}


PIECES = st.sampled_from(
    ["<lora:", "ink", ":", "0.5", ">", "<", ",", " ", "\n", "AND", "[", "]", "|", "__", "embedding:", "a", "\0", "<lora:ink:1>"]
)


@given(st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=100))
def test_no_text_breaks_it_and_no_network_is_left(text: str) -> None:
    rest = without(text, *(network.text for network in networks(text)))
    assert "<lora:ink:1>" not in rest
    read_as_words(text)
    values, lines = prompt_loras.carried({"prompt": text})
    assert all(len(line) < 500 for line in lines) and not networks(values["prompt"])
    try:
        resolve(Recipe(prompt=text, seed=1))
    except ParameterError:
        assert networks(text)


@pytest.mark.parametrize("unit", ["<lora:", "[a:", "[a|", "__a", "AND ", "embedding:a", "<lora:ink:1>", ",", "_"])
def test_a_long_prompt_is_read_in_a_breath(unit: str) -> None:
    text = unit * (200_000 // len(unit))
    read_as_words(text)
    without(text, *{network.text for network in networks(text)})
