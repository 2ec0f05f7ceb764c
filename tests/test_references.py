"""Several pictures for one edit: one is edited and the others are looked at, and every surface says so alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_families
from flow_cases import IMAGE, LAMP, PROMPT, SOFA, by_hand
from PIL import Image

import nbdiffuse
from nbdiffuse import Recipe, Session, resolve
from nbdiffuse.cells import from_file
from nbdiffuse.cells.chains import parse_chain
from nbdiffuse.cells.options import help_text, parse_cell
from nbdiffuse.cells.write import cell_text, chain_text
from nbdiffuse.errors import ParameterError
from nbdiffuse.families.families import MOST_REFERENCES
from nbdiffuse.magics.notebook_variables import NotebookVariables
from nbdiffuse.panels.recipe_panel import Panel
from nbdiffuse.recipes.chain import Chain
from nbdiffuse.scripts.sweeps import of_sweep
from nbdiffuse.sweeps.sweep import Sweep

NAMES = {"room": IMAGE, "sofa": SOFA, "lamp": LAMP}
WORDS = {"image": "room", "image_reference": "sofa", "references.2.image": "lamp"}
SHORT: dict[str, Any] = {"max_sequence_length": 64, "num_inference_steps": 3, "seed": 3}


@pytest.fixture(scope="module")
def klein(family_checkpoints: Path) -> str:
    return str(tiny_families.write("flux2-klein", family_checkpoints))


@pytest.fixture
def recipe(klein: str) -> Recipe:
    pictures = {"image": IMAGE, "references": [SOFA, LAMP]}
    return Recipe(model="flux2-klein", checkpoint=klein, prompt=PROMPT, **pictures, **SHORT)


def test_python_takes_a_list_of_pictures(recipe: Recipe, klein: str, family_checkpoints: Path) -> None:
    made = nbdiffuse.edit([IMAGE, SOFA, LAMP], PROMPT, model=klein, **SHORT)
    assert made.image.tobytes() == by_hand("klein-three", family_checkpoints).tobytes()
    alone = by_hand("klein", family_checkpoints).tobytes()
    assert nbdiffuse.edit([IMAGE], PROMPT, model=klein, **SHORT).image.tobytes() == alone != made.image.tobytes()
    assert made.recipe == resolve(recipe)
    swapped = nbdiffuse.edit([IMAGE, LAMP], PROMPT, references=[SOFA], model=klein, **SHORT)
    assert swapped.recipe.get("references.2.image") == made.recipe.get("image_reference")
    assert "initial image | reference | reference 2 | result" in repr(made) or "reference 2" in made._repr_html_()


def test_a_reference_keeps_its_own_size_and_no_notice_speaks_of_stretching(recipe: Recipe) -> None:
    complete = resolve(recipe)
    assert (complete.width, complete.height) == IMAGE.size
    assert [one.image.size for one in complete.references] == [SOFA.size, LAMP.size]
    assert not any(one.image.notices for one in complete.references)
    assert Recipe.from_json(complete.to_json()).digest == complete.digest


def test_pictures_stand_one_after_the_other_in_a_cell(recipe: Recipe) -> None:
    text = cell_text(recipe, WORDS)
    assert text.startswith("%%edit room sofa lamp --model flux2-klein ")
    head, body = text.split("\n", 1)
    read = parse_cell("edit", head.removeprefix("%%edit "), body)
    assert NotebookVariables(NAMES).recipe(read.values) == recipe
    by_option = parse_cell("edit", "room --model flux2-klein --image-reference sofa --image-reference lamp", PROMPT)
    assert by_option.values == parse_cell("edit", "room sofa lamp --model flux2-klein", PROMPT).values
    assert "`%%edit room.png sofa.png`" in help_text("edit") and "--image-reference" in help_text("edit")


def test_a_list_in_a_variable_is_a_grid_wherever_it_stands() -> None:
    variables = {"rooms": [IMAGE, LAMP], "sofas": [SOFA, LAMP]}
    rooms = parse_cell("edit", "=rooms sofa --model flux2-klein", PROMPT, variables)
    assert list(rooms.axes) == ["image"] and rooms.values["image_reference"] == "sofa"
    sofas = parse_cell("edit", "room =sofas --model flux2-klein", PROMPT, variables)
    assert list(sofas.axes) == ["image_reference"] and len(sofas.axes["image_reference"]) == 2
    assert list(parse_cell("edit", "=rooms", PROMPT, variables).axes) == ["image"]


def test_a_grid_over_references_is_its_runs_and_its_program(
    recipe: Recipe, own: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = recipe.replace(references=[SOFA])
    sweep = Sweep.of(one, image_reference=[SOFA, LAMP])
    runs = [own.run(cell.recipe).image.tobytes() for cell in sweep.cells()]
    assert len(set(runs)) == 2
    script = of_sweep(sweep, {})
    script.save(tmp_path / "grid.py")
    monkeypatch.chdir(tmp_path)
    exec(compile(script.text, "grid.py", "exec"), {"__name__": "__main__"})
    assert [Image.open(tmp_path / name).tobytes() for name in script.results] == runs


def test_a_step_of_a_chain_has_references(recipe: Recipe) -> None:
    chain = Chain((recipe, recipe.replace(image=None, references=[SOFA])))
    text = chain_text(chain, [WORDS, {"image_reference": "sofa"}])
    assert "--image-reference sofa --image-reference lamp" in text
    steps = parse_chain(*text.removeprefix("%%chain ").split("\n", 1)).steps
    assert steps[1]["image_reference"] == "sofa" and steps[0]["references.2.image"] == "lamp"


def test_a_panel_shows_an_input_for_a_further_picture(recipe: Recipe) -> None:
    panel = Panel(recipe.replace(references=[]), Session(), NAMES)

    def first() -> list[str]:
        panel._thread.settle()
        shown = panel._controls._first.children
        return [name for name, control in panel._controls._made.items() if control.widget in shown]

    assert "image_reference" in first() and "references.2.image" not in first()
    panel._controls.set("image_reference", SOFA)
    assert "references.2.image" in first()
    panel._controls.set("references.2.image", LAMP)
    assert panel.recipe == recipe and panel.cell.startswith("%%edit room sofa lamp ")
    panel._controls.set("image_reference", None)
    assert [one.image.size for one in panel.recipe.references] == [LAMP.size]
    panel.stop()


def test_a_file_names_each_of_its_pictures(recipe: Recipe, own: Session, tmp_path: Path) -> None:
    made = own.run(recipe)
    read = from_file.read(made.save(tmp_path / "it.png"))
    assert read.missing == ("image", "image_reference", "references.2.image")
    assert read.cell().startswith("%%edit initial_image image_reference image_reference_2 ")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"model": "edit", "checkpoint": None}, r"`references` must be left out for edit, .*one picture, got 2\. Take flux2-"),
        ({"model": "sd15", "checkpoint": None}, "`image_reference` is not taken by sd15"),
        ({"image": None}, "`image_reference` needs an initial picture"),
        ({"references": [SOFA] * (MOST_REFERENCES + 1)}, f"`references` must be at most {MOST_REFERENCES} for flux2-klein"),
        ({"references": [SOFA.resize((60, 64))]}, "`image_reference` must have at least 64 pixels on both sides.*got 60x64"),
        ({"references": [SOFA, SOFA.resize((1000, 100))]}, r"`references\.2\.image` must have .*at most 8 times.*got 1000x100"),
        ({"image": IMAGE.resize((640, 64))}, "`image` must have .*at most 8 times.*got 640x64"),
    ],
)  # fmt: skip
def test_what_cannot_be_looked_at_is_one_line(change: dict[str, Any], line: str, recipe: Recipe) -> None:
    recipe = recipe.replace(max_sequence_length=None)
    with pytest.raises(ParameterError, match=line) as error:
        resolve(recipe.replace(**change))
    assert "\n" not in str(error.value)


def test_bad_pictures_are_refused_before_a_run(recipe: Recipe, own: Session) -> None:
    with pytest.raises(ParameterError, match="`image` must be a picture or several, got none in a list"):
        nbdiffuse.edit([], PROMPT)
    latents = own.run(Recipe(prompt="a cat", num_inference_steps=1, seed=1)).latents
    with pytest.raises(ParameterError, match="`image_reference` must be a picture, got latents"):
        recipe.replace(references=[latents])
    with pytest.raises(ParameterError, match="`--image-reference` must be left out where several pictures stand after %%edit"):
        parse_cell("edit", "room sofa --image-reference lamp", PROMPT)
    with pytest.raises(ParameterError, match=r"`references\.4\.image` must follow references\.3, and there are 2"):
        recipe.replace(**{"references.4.image": SOFA})


@pytest.fixture(scope="module")
def own() -> Session:
    return Session()
