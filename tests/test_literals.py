"""Every value that ends in a program or a cell is a literal there: no value gets out of its quotes."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import pytest
from hostile import shape, texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager
from PIL import Image

from nbdiffuse import Chain, Recipe, program, resolve
from nbdiffuse.cells.chains import parse_chain
from nbdiffuse.cells.loopbacks import parse_loopback
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.cells.write import cell_text, chain_text
from nbdiffuse.errors import NbdiffuseError, ParameterError
from nbdiffuse.images.picture import Picture
from nbdiffuse.recipes.lora import read
from nbdiffuse.recipes.recipe import PARAMS
from nbdiffuse.results import Result
from nbdiffuse.runs.loopback import Loopback
from nbdiffuse.runs.program import _as_cell, script_of
from nbdiffuse.scripts.statements import identifier, literal, one_line
from nbdiffuse.sweeps.sweep import Sweep

START = Picture.of(Image.new("RGB", (64, 64), (90, 40, 10)))
HUB = "owner/name"
FINGERPRINT = {
    "nbdiffuse": "1.0",
    "torch": "2.9",
    "diffusers": "0.35",
    "transformers": "4.57",
    "compel": "2.1",
    "device": "cpu",
    "dtype": "float32",
    "threads": "1",
    "batch": "4 rows",
    "pipeline": "StableDiffusionPipeline",
    "scheduler": "DDIMScheduler",
    "checkpoint": f"{HUB}@{'0' * 40}",
    "controlnet": "0" * 64,
    "controlnet_2": "0" * 64,
    "attention": "sdpa",
    "compile": "on",
    "channels_last": "on",
    "vae_tiling": "on",
}
TEXTS = [name for name, param in PARAMS.items() if param.kind is str]


def recipe(**values: Any) -> Recipe:
    return Recipe(**{"prompt": "x", "seed": 1, "num_inference_steps": 4, **values})


def of_field(name: str, text: str) -> Recipe:
    """Return a recipe that has a text in a field, with what the field needs beside it."""
    nets: dict[str, Any] = {"controlnet": "a/b", "control_image": START}
    if name in ("controlnet", "controlnet_2"):
        values: dict[str, Any] = {**nets, **({"control_image_2": START} if name.endswith("2") else {}), name: f"a/{text}"}
    elif name == "lora":
        values = {"lora": f"{text}.safetensors:0.5"}
    elif name in ("prompt_2", "negative_prompt_2"):
        values = {"model": "sdxl", "checkpoint": "sdxl", name: text}
    else:
        values = {name: text}
    return recipe(**values)


def twin(name: str, text: str) -> str:
    """Return a harmless text that is of the same form."""
    if name == "lora":
        files = [one.file for one in read(f"{text}.safetensors:0.5")]
        twins = ["a/b/c.safetensors" if file.count("/") > 1 else "c.safetensors" for file in files]
        return " + ".join(twins).removesuffix(".safetensors")
    if name in ("checkpoint", "controlnet", "controlnet_2"):
        at, file = "@x" * bool(text.partition("@")[2]), ".safetensors" * text.endswith(".safetensors")
        return f"{HUB}{'/c' if file else ''}{at}{file}"
    return "x"


@cache
def benign(of: Callable[..., str], *words: str) -> str:
    """Return the shape of a program with harmless values."""
    return shape(of(*words))


def same(of: Callable[..., str], harmless: tuple[str, ...], hostile: tuple[str, ...]) -> None:
    """Compare a program with hostile values, which may be refused in a line, with the one that has harmless ones."""
    try:
        text = of(*hostile)
    except NbdiffuseError:
        return
    found = shape(text)
    assert found == benign(of, *harmless), text
    # As a cell, too: IPython changes nothing of it.
    heard = TransformerManager().transform_cell(text)
    assert heard == text or shape(heard) == found, text


def of_field_text(name: str, text: str) -> str:
    return program(of_field(name, text))


def a_field(text: str, name: str) -> None:
    try:
        harmless = twin(name, text)
    except NbdiffuseError:
        return
    same(of_field_text, (name, harmless), (name, text))


def of_fingerprint(name: str, text: str, checkpoint: str) -> str:
    made = resolve(recipe(checkpoint=checkpoint))
    return program(Result(made, (START.image,), None, 1.0, {**FINGERPRINT, name: text}))


def a_fingerprint(text: str, name: str) -> None:
    # What is none of its own values leaves an optimization where it is, and pins no commit.
    usual = {"checkpoint": "0" * 64, "compile": "off", "channels_last": "off", "vae_tiling": "auto"}
    for checkpoint in ("sd15", HUB):
        same(of_fingerprint, (name, usual.get(name, FINGERPRINT[name]), checkpoint), (name, text, checkpoint))


def of_chain(prompt: str) -> str:
    return program(recipe(prompt=prompt) >> recipe(prompt=prompt, negative_prompt=prompt, strength=0.5))


def of_sweep(prompt: str) -> str:
    return program(Sweep.of(recipe(), prompt=["y", prompt], guidance_scale=[1.5, 3.0]))


def of_loopback(prompt: str) -> str:
    return script_of(Loopback(recipe(prompt=prompt, image=START, strength=0.5), passes=2), name=prompt).text


def of_name(name: str) -> str:
    return script_of(recipe(), name=name).text


def of_cell(name: str) -> str:
    return _as_cell(script_of(recipe(image=START, strength=0.5)), name)


WHOLE = (of_chain, of_sweep, of_loopback, of_name, of_cell)


def a_whole(text: str, of: Callable[[str], str]) -> None:
    same(of, ("x",), (text,))


def transformed(cell: str) -> tuple[str, ...] | None:
    """Return what IPython calls for a cell: a magic's name, line and body; None where it is Python."""
    code = TransformerManager().transform_cell(cell)
    tree = ast.parse(code)
    if not cell.startswith("%%"):
        assert ast.dump(tree) == ast.dump(ast.parse(cell))
        return None
    (statement,) = tree.body
    assert isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    assert ast.unparse(statement.value.func) == "get_ipython().run_cell_magic"
    return tuple(ast.literal_eval(argument) for argument in statement.value.args)


def fields_of(cell: str) -> list[dict[str, Any]]:
    """Return the fields of each recipe that a Python cell makes; it holds nothing but these and the calls around them."""
    imported, run = ast.parse(cell).body
    assert ast.unparse(imported) == "import nbdiffuse"
    calls = [node for node in ast.walk(run) if isinstance(node, ast.Call)]
    assert {ast.unparse(call.func) for call in calls} <= {"nbdiffuse.run", "nbdiffuse.Recipe", "nbdiffuse.Chain"}
    made = [call for call in calls if ast.unparse(call.func) == "nbdiffuse.Recipe"]
    made.sort(key=lambda call: call.lineno)
    return [
        {str(one.arg): one.value.id if isinstance(one.value, ast.Name) else ast.literal_eval(one.value) for one in call.keywords}
        for call in made
    ]


def given_in(one: Recipe, words: Mapping[str, str]) -> dict[str, Any]:
    return {"model": "sd15", **{name: words.get(name, value) for name, value in one.values().items()}}


def a_cell(text: str, name: str) -> None:
    try:
        made = of_field(name, text)
    except ParameterError:
        return
    for word in ("start", text):
        one, words = made.replace(image=START), dict.fromkeys(made.replace(image=START).pictures, word)
        cell = cell_text(one, words)
        heard = transformed(cell)
        read_back = fields_of(cell)[0] if heard is None else {"model": "sd15", **parse_cell(*heard).values}
        assert read_back == given_in(one, words), cell
        chain = one >> made.replace(controlnets=())
        cell = chain_text(chain, [words, {}])
        heard = transformed(cell)
        steps = fields_of(cell) if heard is None else parse_chain(*heard[1:]).steps
        assert list(steps) == [given_in(chain[0], words), given_in(chain[1], {})], cell


def draw(text: str, kind: int) -> None:
    kinds: list[Callable[[], None]] = [partial(a_whole, text, of) for of in WHOLE]
    kinds += [partial(one, text, name) for name in TEXTS for one in (a_field, a_cell)]
    kinds += [partial(a_fingerprint, text, name) for name in FINGERPRINT]
    kinds[kind]()


KINDS = st.integers(0, len(WHOLE) + 2 * len(TEXTS) + len(FINGERPRINT) - 1)
QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=500, **QUIET)
@given(texts, KINDS)
def test_no_value_gets_out_of_its_quotes(text: str, kind: int) -> None:
    draw(text, kind)


@pytest.mark.slow
@settings(max_examples=10_000, **QUIET)
@given(texts, KINDS)
def test_no_value_of_ten_thousand_gets_out_of_its_quotes(text: str, kind: int) -> None:
    draw(text, kind)


PAYLOAD = 'float32 if __import__("os").system("x") else torch.float32'


@pytest.mark.parametrize("name", FINGERPRINT)
def test_a_fingerprint_is_no_source_whoever_let_it_in(name: str) -> None:
    """The second wall: the fingerprint is a result's own, so no check of files stood before."""
    for payload in (PAYLOAD, f'cpu"); {PAYLOAD}; ("', f"a@{PAYLOAD}", f"DDIMScheduler\n{PAYLOAD}"):
        a_fingerprint(payload, name)


@pytest.mark.parametrize("of", WHOLE)
def test_no_line_break_ends_a_comment_or_a_literal(of: Callable[[str], str]) -> None:
    for text in ("a\nimport os", "a\r\nimport os", "a\u2028import os", 'a"\nimport os\n"', "a\\", "{import os}"):
        a_whole(text, of)


@pytest.mark.parametrize(
    "beginning", [">>> ", "In [1]: ", "   ...: ", "... ", "%%bash", "%cd x", "!ls", "? x", ",f", "/f", "  ", "\t", "[sd15]"]
)
@pytest.mark.parametrize("name", ["prompt", "negative_prompt"])
def test_a_cell_is_what_ipython_makes_of_it(beginning: str, name: str) -> None:
    a_cell(f"{beginning}a cat\n{beginning}on a mat", name)
    a_cell(f"a cat\n{beginning}on a mat", name)


def test_a_literal_is_a_number_or_a_text_and_nothing_else() -> None:
    class Sly(float):
        def __repr__(self) -> str:
            return "print()"

    for value in (Sly(1.0), float("nan"), float("inf"), object(), {"a": object()}, {"a": {1j: 2}}, b"x", 1j):
        with pytest.raises(ParameterError, match="`program` must be made of"):
            literal(value)
    for name in ("a b", "a;b", "class", "", "a.b", "ａ", "__import__('os')"):
        with pytest.raises(ParameterError, match="`program` must be made of names"):
            identifier(name)
    assert "\n" not in one_line("a\nb\r\u2028c") and one_line("a\nb") == "a b"


@pytest.mark.parametrize("word", ["--lora=--", "--checkpoint=--", "--negative-prompt=--", "--strength=--"])
def test_two_dashes_are_no_value(word: str) -> None:
    for parse in (lambda: parse_cell("img2img", f"start {word}", "a cat"), lambda: parse_chain(word, "[sd15]\na cat")):
        with pytest.raises(ParameterError, match="got '--'"):
            parse()
    with pytest.raises(ParameterError, match="got '--'"):
        parse_loopback(f"start {word}", "a cat")


def test_a_chain_of_one_step_is_a_cell_too() -> None:
    chain = Chain((recipe(prompt=">>> a cat"),))
    assert fields_of(chain_text(chain, [{}])) == [given_in(chain[0], {})]
