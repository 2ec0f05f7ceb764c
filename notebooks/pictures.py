"""Draw the README's pictures anew from the cells that stand beside them: `python notebooks/pictures.py`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from PIL import Image

from nbdiffuse.embedded import world
from nbdiffuse.embedded.reports.sheets import contact_sheet

FOLDER = Path(__file__).parent / "pictures"
README = Path(__file__).parents[1] / "README.md"
_CELL = r"```\n(%%(?:img2img|txt2img|edit|chain|loopback) (?:(?!```).)*)```\n"
_PICTURE = r"!\[[^\]]*\]\(notebooks/pictures/([\w-]+\.png)\)\n"


def cells(text: str) -> Iterator[tuple[str, str]]:
    """Yield each cell that has a picture beside it, with the picture's file; only the first stands below its picture."""
    first = re.search(rf"{_PICTURE}\n{_CELL}", text, re.DOTALL)
    if first:
        yield first[2], first[1]
        text = text[first.end() :]
    for found in re.finditer(rf"{_CELL}\n{_PICTURE}", text, re.DOTALL):
        yield found[1], found[2]


def drawn(shell: InteractiveShell, cell: str) -> bytes:
    """Run a cell and return the picture that it ends with, as PNG."""
    with capture_output() as captured:
        shell.run_cell(cell).raise_error()
    shown = [output.data for output in captured.outputs if "image/png" in output.data]
    return bytes(shown[-1]["image/png"])


def world_sheet(file: Path) -> None:
    """Draw every subject in every place, a style or a palette at the end of each row."""
    side = 96
    rows = []
    for number, subject in enumerate(world.SUBJECTS):
        scenes = [world.Scene(number * 10 + index, side, subject, place, "natural") for index, place in enumerate(world.PLACES)]
        graded = world.Scene(number * 10, side, subject, world.PLACES[number % 7], world.PALETTES[1 + number])
        styled = world.Scene(number * 10, side, subject, world.PLACES[number % 7], "natural", world.STYLES[number % 3])
        rows.append([scene.image for scene in (*scenes, graded, styled)])
    sheet = Image.new("RGB", (side * len(rows[0]), side * len(rows)))
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            sheet.paste(image, (x * side, y * side))
    sheet.save(file, optimize=True)


def main() -> None:
    """Draw them all."""
    world_sheet(FOLDER / "world.png")
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "nbdiffuse")
    for cell, name in cells(README.read_text("utf-8")):
        (FOLDER / name).write_bytes(drawn(shell, cell))
    contact_sheet(FOLDER / "embedded.png")


if __name__ == "__main__":
    main()
