"""Transcripts: the cell that is written for a recipe or a chain is read as that recipe or chain."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager
from PIL import Image
from test_recipe import recipes

from nbdiffuse.cells.chains import parse_chain
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.cells.write import cell_text, chain_text
from nbdiffuse.images.picture import Picture
from nbdiffuse.recipes.chain import Chain
from nbdiffuse.recipes.recipe import PARAMS, Recipe

pytestmark = pytest.mark.quick

START = Picture.of(Image.new("RGB", (64, 64), (9, 9, 9)))
WORDS = {
    "image": "start",
    "mask_image": "my mask.png",
    "control_image": "a,b.png",
    "controlnets.2.image": "edges.png",
    "image_reference": "sofa.png",
    "ip_adapter_image": "style.png",
    "ip_adapter_mask": "where.png",
}


def read_back(text: str, recipe: Recipe) -> Recipe:
    """Run the cell as IPython would: split it, and read what the magic gets; or evaluate its Python."""
    pictures = {word: recipe.pictures[name] for name, word in WORDS.items() if name in recipe.pictures}
    if not text.startswith("%%"):
        made: list[Recipe] = []
        names = {
            "nbdiffuse": type("Stub", (), {"Recipe": Recipe, "run": staticmethod(made.append)}),
            "start": pictures.get("start"),
        }
        code = text.removeprefix("import nbdiffuse\n")
        for name in WORDS.keys() - {"image"}:
            variable = name.replace(".", "_")
            code = code.replace(f"{name}={WORDS[name]!r}", f"{name}={variable}").replace(
                f"{name!r}: {WORDS[name]!r}", f"{name!r}: {variable}"
            )
            names[variable] = recipe.pictures.get(name)
        exec(code, names)
        return made[0]
    call: Any = ast.parse(TransformerManager().transform_cell(text)).body[0]
    task, line, body = (argument.value for argument in call.value.args)
    cell = parse_cell(task, line, body)
    assert not cell.axes and not cell.notices
    return Recipe(
        **{name: pictures.get(value, value) if PARAMS[name].kind is Picture else value for name, value in cell.values.items()}
    )


def words_of(recipe: Recipe) -> dict[str, str]:
    return {name: WORDS[name] for name in recipe.pictures}


@settings(max_examples=300)
@given(recipes)
@example(Recipe(prompt="a cat\nNegative prompt: dog", image=START))
@example(Recipe(prompt=" a cat ", image=START, negative_prompt=""))
@example(Recipe(prompt="a cat\nSteps: 20, Sampler: DDIM, CFG scale: 7", image=START))
@example(Recipe(prompt="a {red|blue} \\{car\\}", image=START, negative_prompt="a|b", scheduler='a,"b'))
@example(Recipe(prompt="", image=START))
@example(Recipe(prompt="a:\n \n:b", image=START, strength=0.0, seed=0))
def test_a_cell_is_read_as_its_recipe(recipe: Recipe) -> None:
    text = cell_text(recipe, words_of(recipe))
    assert read_back(text, recipe) == recipe


ordinary = st.text(st.sampled_from("abc ,.'\"\\{}|()$%-:é☃\n"), min_size=1, max_size=60).map(
    lambda text: "a" + "\n".join(line.strip() for line in text.strip().split("\n")) + "b"
)


@given(ordinary, ordinary | st.none(), st.floats(0, 1), st.integers(0, 2**63 - 1))
def test_whatever_can_be_typed_is_written_as_a_magic(prompt: str, negative: str | None, strength: float, seed: int) -> None:
    recipe = Recipe(prompt=prompt, negative_prompt=negative, image=START, strength=strength, seed=seed)
    text = cell_text(recipe, words_of(recipe))
    assert text.startswith("%%img2img start ") and read_back(text, recipe) == recipe


@pytest.mark.parametrize(
    ("recipe", "text"),
    [
        (
            Recipe(prompt="a cat wizard", image=START, strength=0.6, seed=7, negative_prompt="ugly, bad"),
            "%%img2img start --strength 0.6 --seed 7\na cat wizard\nNegative prompt: ugly, bad",
        ),
        (
            Recipe(prompt="it's", guidance_scale=3.0, checkpoint="my models/sd"),
            "%%txt2img --guidance-scale 3 --checkpoint 'my models/sd'\nit's",
        ),
        (Recipe(prompt="x", image=START, negative_prompt=""), "%%img2img start --negative-prompt ''\nx"),
    ],
)
def test_a_cell_is_what_a_person_would_type(recipe: Recipe, text: str) -> None:
    assert cell_text(recipe, words_of(recipe)) == text


def test_what_no_magic_can_say_is_said_in_python() -> None:
    recipe = Recipe(prompt="a\tcat", image=START, seed=7)
    text = cell_text(recipe, {"image": "wizard"}, {"image": "wizard.image"})
    assert text == (
        "import nbdiffuse\n\nnbdiffuse.run(\n    nbdiffuse.Recipe(\n        prompt='a\\tcat',\n"
        "        image=wizard.image,\n        model='sd15',\n        seed=7,\n    )\n)"
    )


def read_chain(text: str) -> Chain:
    """Run a cell of `%%chain` as IPython would, or evaluate its Python."""
    if not text.startswith("%%"):
        made: list[Chain] = []
        stub = type("Stub", (), {"Recipe": Recipe, "Chain": Chain, "run": staticmethod(made.append)})
        exec(text.removeprefix("import nbdiffuse\n"), {"nbdiffuse": stub, "start": START})
        return made[0]
    call: Any = ast.parse(TransformerManager().transform_cell(text)).body[0]
    task, line, body = (argument.value for argument in call.value.args)
    cell = parse_chain(line, body)
    assert task == "chain" and not cell.axes and not cell.notices
    named = ({"image": START} if "image" in step else {} for step in cell.steps)
    return Chain(tuple(Recipe(**{**step, **picture}) for step, picture in zip(cell.steps, named, strict=True)))


def words_of_chain(chain: Chain) -> list[dict[str, str]]:
    return [{"image": "start"} if step.image is not None else {} for step in chain]


def as_steps(drawn: list[Recipe], begins_with_picture: bool) -> Chain:
    """Take the pictures out, but for the first step's."""
    bare = [step.replace(**dict.fromkeys(WORDS)) for step in drawn]
    first = bare[0].replace(image=START if begins_with_picture else None)
    return Chain((first, *bare[1:]))


@settings(max_examples=150)
@given(st.lists(recipes, min_size=1, max_size=3), st.booleans())
@example([Recipe(prompt="[sd15] a cat"), Recipe(prompt="x")], True)
@example([Recipe(prompt="x"), Recipe(prompt="", scheduler="a]b")], False)
@example([Recipe(prompt="x"), Recipe(prompt="")], True)
def test_a_chains_cell_is_read_as_the_chain(drawn: list[Recipe], begins_with_picture: bool) -> None:
    chain = as_steps(drawn, begins_with_picture)
    assert read_chain(chain_text(chain, words_of_chain(chain))) == chain


@given(st.lists(ordinary, min_size=1, max_size=3), ordinary | st.none(), st.floats(0, 1))
def test_a_chain_that_can_be_typed_is_written_as_a_magic(prompts: list[str], negative: str | None, strength: float) -> None:
    steps = [Recipe(prompt=prompt, negative_prompt=negative, strength=strength) for prompt in prompts]
    chain = as_steps(steps, True)
    text = chain_text(chain, words_of_chain(chain))
    assert text.startswith("%%chain start\n[sd15 ") and read_chain(text) == chain


def test_a_chains_cell_is_what_a_person_would_type() -> None:
    chain = Recipe(prompt="a cat", image=START, seed=7) >> Recipe(prompt="a cat, pixelartstyle", model="pixel-art", strength=0.4)
    assert chain_text(chain, words_of_chain(chain)) == (
        "%%chain start\n[sd15 --seed 7]\na cat\n[pixel-art --strength 0.4]\na cat, pixelartstyle"
    )


def test_a_chain_that_no_magic_can_say_is_said_in_python() -> None:
    chain = Recipe(prompt="a\tcat", image=START) >> Recipe(prompt="x")
    assert chain_text(chain, [{"image": "wizard"}, {}], [{"image": "wizard.image"}, {}]) == (
        "import nbdiffuse\n\nnbdiffuse.run(\n    nbdiffuse.Recipe(\n        prompt='a\\tcat',\n        image=wizard.image,\n"
        "        model='sd15',\n    )\n    >> nbdiffuse.Recipe(\n        prompt='x',\n        model='sd15',\n    )\n)"
    )
