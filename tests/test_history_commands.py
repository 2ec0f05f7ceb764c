"""`%diffuse read`, `history`, `diff`, `lineage` and `verify` in a real kernel: what a person sees."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def files(kernel: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two results of which one was made from the other, in variables and in files."""
    folder = tmp_path_factory.mktemp("inquiries")
    assert kernel.run(f"%%img2img start -n 4 --seed 7 --out cat --save {folder}/cat.png\na cat of inquiries").ok
    assert kernel.run(f"%%img2img cat -n 4 --strength 0.5 --seed 8 --out dog --save {folder}/dog.png\na dog of inquiries").ok
    return folder


def html(outcome: Any) -> str:
    return "".join(output["data"].get("text/html", "") for output in outcome.outputs if "data" in output)


def test_read_shows_the_recipe_and_inserts_its_cell_with_the_picture_at_hand(kernel: Any, files: Path) -> None:
    outcome = kernel.run(f"%diffuse read {files}/dog.png")
    assert outcome.ok and outcome.texts()[0].startswith("written by nbdiffuse")
    (payload,) = [each for each in outcome.reply["payload"] if each["source"] == "set_next_input"]
    assert payload["text"].startswith("%%img2img initial_image ") and payload["text"].endswith("\na dog of inquiries")
    made = kernel.run(payload["text"].replace("\n", " --out again\n", 1))
    assert made.ok, made.reply
    assert kernel.run("print(again.image.tobytes() == dog.image.tobytes())").stream.strip() == "True"


def test_read_takes_no_name_that_holds_something_else(kernel: Any, files: Path) -> None:
    kernel.run("initial_image = 'mine'")
    kernel.run(f"%diffuse read {files}/dog.png")
    held = kernel.run("print(initial_image, initial_image_2.at_hand, initial_image_2.size)").stream.strip()
    assert held == "mine True (128, 128)"


def test_history_lists_what_was_made(kernel: Any, files: Path) -> None:
    outcome = kernel.run("%diffuse history inquiries sd15")
    assert outcome.texts()[0].splitlines()[0].startswith("2 results for") and html(outcome).count("<img ") == 2


def test_plan_says_what_a_grid_counts_and_names_the_grids_there_are(kernel: Any) -> None:
    assert kernel.run("%%img2img start --strength 0.5,0.6 --seed 7 -n 2 --out planned\na cat").ok
    line, details = kernel.run("%diffuse plan planned").texts()[0].splitlines()
    assert (
        re.fullmatch(r"2 images, 1 to draw, (about \d+ s|1 steps?)", line)
        and details == "2 cells, 1 distinct, 1 step, 1 model: sd15"
    )
    error = kernel.run("%diffuse plan planed").reply["evalue"]
    assert error == "`%diffuse plan` must be followed by the name of a grid, got 'planed'. Did you mean 'planned'?"


def test_diff_names_what_differs(kernel: Any, files: Path) -> None:
    outcome = kernel.run(f"%diffuse diff cat {files}/dog.png")
    text = outcome.texts()[0]
    assert all(name in text for name in ("prompt", "seed", "strength", "largest difference")) and "guidance" not in text
    assert html(outcome).count("<img ") == 2


def test_lineage_draws_the_line_of_a_variable_and_of_a_file(kernel: Any, files: Path) -> None:
    for word in ("dog", f"{files}/dog.png"):
        assert html(kernel.run(f"%diffuse lineage {word}")).count("<img ") == 3


def test_verify_puts_its_verdicts_in_place_of_its_progress(kernel: Any, files: Path) -> None:
    outcome = kernel.run(f"%diffuse verify dog {files}")
    kinds = [output["type"] for output in outcome.outputs]
    assert outcome.ok and kinds == ["display_data", *["update_display_data"] * 3]
    assert outcome.texts()[0] == "1 of 3: dog"
    assert outcome.texts()[-1].splitlines() == ["dog: identical", "cat.png: identical", "dog.png: identical", "3 identical"]


def test_an_interrupt_keeps_the_verdicts(kernel: Any, files: Path) -> None:
    kernel.run("%%img2img start -n 400 -s 0.9 --seed 1 --out slow\na slow cat")
    outcome = kernel.run("%diffuse verify dog slow", interrupts=(1.5,))
    assert outcome.reply["ename"] == "Interrupted" and "their verdicts stand above" in outcome.reply["evalue"]
    # On a slow machine the interrupt may come before the first one ends.
    assert outcome.texts()[-1] in ("dog: identical", "")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("read", "must be followed by a file"),
        ("read nowhere.png", "cannot be read: No such file"),
        ("diff cat", "must be followed by two results or files"),
        ("diff cat nothing", "Did you mean|Known"),
        ("lineage", "must be followed by a result or a file"),
        ("verify", "must be followed by results, files or folders"),
        ('read "open', "quotation marks are closed"),
    ],
)
def test_a_mistake_is_one_line(kernel: Any, files: Path, line: str, message: str) -> None:
    outcome = kernel.run(f"%diffuse {line}")
    assert outcome.reply["ename"] in ("ParameterError", "ImageInputError")
    assert re.search(message, outcome.reply["evalue"]) and "\n" not in outcome.reply["evalue"]
