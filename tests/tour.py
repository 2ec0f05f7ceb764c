"""Record the README's tour and the panel's picture in a real browser: `python tests/tour.py`.

A person's first minutes in JupyterLab: a cell, a grid, the panel. Written to `notebooks/pictures/tour.webp` and `panel.png`.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import browser
from PIL import Image

FOLDER = Path(__file__).parents[1] / "notebooks" / "pictures"
SIZE = {"width": 860, "height": 680}
LARGEST = 3_000_000
"""Bytes of the animation."""
PROMPT = "a rocket in the jungle, vivid colors"
CELLS = [
    "%load_ext nbdiffuse",
    f"%%img2img example:penguin --strength 0.8 --seed 3 --out rocket\n{PROMPT}",
    f"%%img2img example:penguin --strength 0.4,0.6,0.8 --guidance-scale 1,7.5 --seed 3 --out grid\n{PROMPT}",
    "%diffuse panel example:penguin",
]


class Film:
    """Frames of a page, each with the time for which it is shown, in ms."""

    def __init__(self, page: Any) -> None:
        self._page, self.frames, self.times = page, [], []

    def shoot(self, milliseconds: int = 700) -> None:
        """Take a frame; one that is as the last one makes that one last longer."""
        frame = Image.open(io.BytesIO(self._page.screenshot())).convert("RGB")
        if self.frames and frame.tobytes() == self.frames[-1].tobytes():
            self.times[-1] += milliseconds
        else:
            self.frames.append(frame)
            self.times.append(milliseconds)

    def until(self, true: Callable[[], Any], milliseconds: int = 300) -> None:
        """Take frames until something is so."""
        deadline = time.monotonic() + 240
        while not true() and time.monotonic() < deadline:
            self.shoot(milliseconds)
            self._page.wait_for_timeout(500)
        self._page.wait_for_timeout(600)
        self.shoot(2200)

    def save(self, file: Path) -> None:
        """Write an animation of at most `LARGEST` bytes."""
        first, *others = self.frames
        for quality in (80, 60, 40):
            first.save(file, save_all=True, append_images=others, duration=self.times, loop=0, quality=quality, method=4)
            if file.stat().st_size <= LARGEST:
                return
        raise SystemExit(f"{file} is larger than {LARGEST} bytes.")


def record(page: Any, notebook: browser.Notebook) -> Film:
    """Run the cells one after another and use the panel."""
    film = Film(page)
    notebook.command("application:toggle-left-area")
    film.shoot(1500)
    cells = page.locator(".jp-Cell")
    for number in range(len(CELLS)):
        cells.nth(number).locator(".cm-content").click()
        cells.nth(number).scroll_into_view_if_needed()
        film.shoot(900)
        notebook.start("notebook:run-cell")
        if number == 0:
            film.until(lambda: "[1]" in cells.nth(0).inner_text())
        elif number < 3:
            done = f"[{number + 1}]"
            cells.nth(number).evaluate("cell => cell.scrollIntoView({block: 'start'})")
            film.until(lambda at=number, done=done: done in cells.nth(at).inner_text())
    panel = page.locator(".nbdiffuse-panel")
    panel.wait_for()
    page.locator(".nbd-image-input").first.wait_for()
    cells.nth(3).evaluate("cell => cell.scrollIntoView({block: 'start'})")
    page.wait_for_timeout(1000)
    film.shoot(1500)
    prompt = panel.get_by_label("prompt", exact=True).and_(panel.locator("textarea"))
    prompt.click()
    for word in PROMPT.split():
        page.keyboard.type(f"{word} ")
        film.shoot(150)
    seed = panel.get_by_label("seed", exact=True).and_(panel.locator("input"))
    seed.fill("3")
    seed.press("Control+Enter")
    cells.nth(3).evaluate("cell => cell.scrollIntoView({block: 'start'})")
    film.until(lambda: panel.locator(".nbd-past").count() and panel.locator(".nbd-run-button").is_enabled())
    compare = panel.locator(".nbd-compare input")
    for place in (65, 80, 60, 40, 25, 35):
        compare.fill(str(place))
        film.shoot(350)
    film.shoot(2500)
    return film


def main() -> None:
    """Record both."""
    why = browser.missing()
    if why:
        raise SystemExit(why)
    root = Path(tempfile.mkdtemp())
    browser.write_notebook(root / "tour.ipynb", CELLS)
    with browser.jupyter(root) as address, browser.browser() as chromium:
        page = chromium.new_page(viewport=SIZE)
        record(page, browser.Notebook(page, address, "tour.ipynb")).save(FOLDER / "tour.webp")
        page.set_viewport_size({"width": 900, "height": 1100})
        page.wait_for_timeout(1500)
        page.locator(".nbdiffuse-panel").screenshot(path=FOLDER / "panel.png")


if __name__ == "__main__":
    main()
