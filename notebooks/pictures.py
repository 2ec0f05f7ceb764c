"""Draw the documentation's pictures anew from its cells: `python notebooks/pictures.py [NAME ...]`, all by default."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from PIL import Image

from nbdiffuse.embedded import world
from nbdiffuse.embedded.reports.sheets import contact_sheet

FOLDER = Path(__file__).parent / "pictures"
README = Path(__file__).parents[1] / "README.md"
PAGES = [README, *sorted((README.parent / "nbdiffuse" / "docs").glob("*.md"))]
_CELL = r"```\n(%%(?:img2img|txt2img|edit|chain|loopback) (?:(?!```).)*)```\n"


def cells(text: str) -> Iterator[tuple[str, str]]:
    """Yield each cell whose picture a page shows, with the file: it is called as the cell's `--out` calls the result."""
    shown = set(re.findall(r"!\[[^\]]*\]\((?:\.\./\.\./)?notebooks/pictures/([\w-]+)\.png\)", text))
    for cell in re.findall(_CELL, text, re.DOTALL):
        named = re.search(r" --out (\w+)", cell.partition("\n")[0])
        if named and named[1] in shown:
            yield cell, f"{named[1]}.png"


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
    """Draw those that the command line names."""
    wanted = sys.argv[1:]
    if not wanted or "world" in wanted:
        world_sheet(FOLDER / "world.png")
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "nbdiffuse")
    for name, cell in {name: cell for page in PAGES for cell, name in cells(page.read_text("utf-8"))}.items():
        if not wanted or Path(name).stem in wanted:
            (FOLDER / name).write_bytes(drawn(shell, cell))
    if not wanted or "embedded" in wanted:
        contact_sheet(FOLDER / "embedded.png")


if __name__ == "__main__":
    main()
