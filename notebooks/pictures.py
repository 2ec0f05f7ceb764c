"""Draw the README's pictures anew: `python notebooks/pictures.py`."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

import nbdiffuse
from nbdiffuse.embedded import world
from nbdiffuse.embedded.reports.sheets import contact_sheet

FOLDER = Path(__file__).parent / "pictures"
START = world.sample(3000110).image
WIZARD = "cat wizard, gandalf, lord of the rings, detailed, fantasy, cute"
JUNGLE = "Astronaut in a jungle, cold color palette, muted colors, detailed, 8k"


def keep(name: str, shown: nbdiffuse.Result | nbdiffuse.Grid | nbdiffuse.ChainRun) -> None:
    """Write what a notebook would show."""
    (FOLDER / name).write_bytes(shown._repr_mimebundle_()["image/png"])


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
    start = nbdiffuse.Picture.of(START, label="start")
    recipe = nbdiffuse.Recipe(prompt=WIZARD, image=start, seed=1)
    keep("wizard.png", nbdiffuse.run(recipe))
    keep("grid.png", nbdiffuse.sweep(recipe, guidance_scale=[1, 4, 7.5, 10.5], strength="0.2:1:0.2").run())
    styled = {"comic": "charliebo artstyle", "pixel-art": "pixelartstyle"}
    if {*styled} <= {*nbdiffuse.embedded.names()}:
        chain = nbdiffuse.Recipe(prompt=JUNGLE, image=start, seed=1)
        for model, trigger in styled.items():
            chain = chain >> nbdiffuse.Recipe(prompt=f"Astronaut in a jungle, {trigger}", model=model, strength=0.8)
        keep("chain.png", nbdiffuse.run(chain))
    contact_sheet(FOLDER / "embedded.png")


if __name__ == "__main__":
    main()
