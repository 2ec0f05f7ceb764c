"""A mask painted in a real browser by mouse, keys and touch: in a cell and in the panel, in JupyterLab and Notebook 7."""

from __future__ import annotations

import io
import itertools
import os
import re
from pathlib import Path
from typing import Any

import browser
import numpy as np
import pytest
from PIL import Image
from test_browser import APPS, PanelPage
from waiting import wait_for

from nbdiffuse.embedded.world import sample

SHOTS = os.environ.get("NBDIFFUSE_SHOTS")
THEMES = {"lab": "JupyterLab Light", "notebook": "JupyterLab Dark"}
RUN = "%%img2img start.png --mask-image mask --seed 1 --num-inference-steps 4 --out redrawn\ncat wizard"
SAVE = "redrawn.save('redrawn.png'); mask.image.save('mask.png')"


class CanvasPage:
    """A canvas on a page, by what a person sees of it."""

    def __init__(self, page: Any, box: Any) -> None:
        self.page, self.box = page, box
        box.locator(".nbd-mask-stage").wait_for()
        wait_for(lambda: "redrawn" in self.status)

    @property
    def status(self) -> str:
        return str(self.box.locator(".nbd-mask-status").inner_text())

    @property
    def share(self) -> float:
        return float(self.status.split(" %")[0])

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a part of the picture is on the page; both in [0, 1]."""
        edge = self.box.locator(".nbd-mask-stage").bounding_box()
        return edge["x"] + x * edge["width"], edge["y"] + y * edge["height"]

    def drag(self, *points: tuple[float, float]) -> None:
        self.box.scroll_into_view_if_needed()
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point), steps=5)
        self.page.mouse.up()

    def click(self, name: str) -> None:
        self.box.get_by_role("button", name=name, exact=True).click()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)


def white(mask: Image.Image) -> Any:
    return np.asarray(mask.convert("L")) == 255


def only_inside(redrawn: Image.Image, start: Image.Image, painted: Any) -> None:
    """What was painted is another picture, and what was not is the same to the byte."""
    changed = (np.asarray(redrawn.convert("RGB")) != np.asarray(start.convert("RGB"))).any(-1)
    assert not changed[~painted].any() and changed[painted].mean() > 0.9


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    folder = Path(SHOTS or tmp_path / "shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("app", APPS)
def test_a_mask_is_painted_in_a_cell_and_used_by_the_next(app: str, tmp_path: Path, shots: Path) -> None:
    root = tmp_path / "notebooks"
    root.mkdir()
    start = sample(3_000_110).image
    start.save(root / "start.png")
    browser.write_notebook(root / "mask.ipynb", ["%load_ext nbdiffuse", "%diffuse mask start.png", RUN, SAVE])
    with browser.jupyter(root, app, THEMES[app]) as address, browser.browser() as chromium:
        page = chromium.new_page(viewport={"width": 1300, "height": 1500}, has_touch=True)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(f"{error}\n{error.stack}"))
        notebook = browser.Notebook(page, address, "mask.ipynb", app)
        notebook.command("notebook:run-all-cells")
        canvas = CanvasPage(page, page.locator(".nbd-mask").first)
        before = notebook.sources()
        assert canvas.share == 0 and "128 × 128" in canvas.status

        # Mouse: a stroke; undone, and done again by keys.
        canvas.drag((0.2, 0.2), (0.5, 0.3))
        stroke = canvas.share
        assert 2 < stroke < 5
        canvas.press("Control+z")
        assert canvas.share == 0
        canvas.press("Control+Shift+z")
        assert canvas.share == stroke

        # Keys alone: the eraser takes the end of the stroke away, arrows move it.
        canvas.press("e", "Shift+ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowLeft")
        assert 0 < canvas.share < stroke
        # An outline of straight lines, and what it encloses.
        canvas.press("l", "[", "[")
        corners = [(0.3, 0.5), (0.7, 0.5), (0.7, 0.9), (0.3, 0.9), (0.3, 0.5)]
        for one, other in itertools.pairwise(corners):
            canvas.drag(one, other)
        outline = canvas.share
        canvas.click("Fill")
        canvas.drag((0.5, 0.7))
        # The area inside is about 0.4 x 0.4 of the picture; keys work where a button has the focus.
        assert outline + 8 < canvas.share < outline + 16
        canvas.press("b")
        assert canvas.box.get_by_role("button", name="Brush").get_attribute("aria-pressed") == "true"

        # Invert and clear, and back.
        kept = canvas.share
        canvas.press("i")
        assert canvas.share == pytest.approx(100 - kept, abs=0.11)
        canvas.click("Clear")
        assert canvas.share == 0
        canvas.click("Undo")
        canvas.click("Undo")
        assert canvas.share == kept

        # A finger paints.
        page.touchscreen.tap(*canvas.at(0.9, 0.1))
        tapped = canvas.share
        assert tapped > kept

        # A second finger moves the picture, and takes back what the first one began.
        touch = page.context.new_cdp_session(page)
        (x, y), (far_x, far_y) = canvas.at(0.4, 0.4), canvas.at(0.6, 0.6)
        one, two = {"x": x, "y": y, "id": 0}, {"x": far_x, "y": far_y, "id": 1}
        moved = {"x": far_x + 60, "y": far_y + 60, "id": 1}
        for kind, points in (("Start", [one]), ("Start", [one, two]), ("Move", [one, moved]), ("End", [])):
            touch.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
        assert canvas.share == tapped and "shown at 400 %" not in canvas.status
        canvas.click("Whole picture")

        # Buttons and keys zoom; a slider has its own keys.
        canvas.click("Zoom in")
        canvas.click("Zoom in")
        assert "shown at 625 %" in canvas.status
        canvas.press("0")
        assert "shown at 400 %" in canvas.status
        slider = canvas.box.get_by_role("slider", name="Size")
        slider.focus()
        size = int(slider.input_value())
        slider.press("ArrowRight")
        assert int(slider.input_value()) == size + 1
        names = canvas.box.evaluate("box => [...box.querySelectorAll('button, input')].map((one) => one.ariaLabel)")
        assert all(names) and len(set(names)) == len(names)
        canvas.box.scroll_into_view_if_needed()
        page.screenshot(path=shots / f"mask-{app}.png")
        assert notebook.sources() == before, "a key was the notebook's"

        # The cells below redraw what is painted, and nothing else; the canvas, opened again, has it still.
        page.locator(".jp-Cell").nth(1).locator(".jp-InputPrompt").click()
        (root / "redrawn.png").unlink(missing_ok=True)
        notebook.command("notebook:run-all-below")
        wait_for(lambda: (root / "mask.png").exists() and (root / "redrawn.png").exists())
        canvas = CanvasPage(page, page.locator(".nbd-mask").first)
        assert canvas.share == tapped
        mask = white(Image.open(root / "mask.png"))
        assert round(100 * mask.mean(), 1) == tapped and mask[90, 64] and mask[12, 115] and not mask[64, 5]
        only_inside(Image.open(root / "redrawn.png"), start, mask)

        # The mask as a cell: a notebook that has it needs no person and no file.
        page.locator("button").filter(has_text=re.compile(r"^\s*Insert cell\s*$")).first.click()
        wait_for(lambda: any("data:image/png" in source for source in notebook.sources()))
        cell = next(source for source in notebook.sources() if "data:image/png" in source)
        names_in: dict[str, Any] = {}
        exec(cell, names_in)
        assert (white(names_in["mask"].image) == mask).all()
        notebook.save()
        assert not [problem for problem in problems if "reading 'schema'" not in problem]
    saved = (root / "mask.ipynb").read_text()
    assert "image/png" in saved and "nbdiffuse mask" in saved


@pytest.mark.parametrize("app", APPS)
def test_a_mask_is_painted_in_the_panel(app: str, tmp_path: Path, shots: Path) -> None:
    root = tmp_path / "notebooks"
    root.mkdir()
    start = sample(3_000_110).image
    start.save(root / "start.png")
    opened = "import nbdiffuse\nnbdiffuse.panel('start.png', prompt='cat wizard', seed=1, num_inference_steps=4)"
    browser.write_notebook(root / "panel.ipynb", ["%load_ext nbdiffuse", opened])
    with browser.jupyter(root, app, THEMES[app]) as address, browser.browser() as chromium:
        page = chromium.new_page(viewport={"width": 1300, "height": 2200})
        panel = PanelPage(browser.Notebook(page, address, "panel.ipynb", app), shots)
        panel.button("More settings").click()
        panel.button("Paint").click()
        canvas = CanvasPage(page, panel.box.locator(".nbd-mask").first)
        canvas.drag((0.2, 0.6), (0.8, 0.6))
        canvas.press("Shift+ArrowUp")
        wait_for(lambda: "painted" in panel.box.inner_text())
        panel.run()
        panel.shoot(f"{app}-panel-mask")
        shown = panel.box.locator(".nbd-compare img:not(.nbd-before)").first
        sent = "async (url) => [...new Uint8Array(await (await fetch(url)).arrayBuffer())]"
        redrawn = Image.open(io.BytesIO(bytes(page.evaluate(sent, shown.get_attribute("src")))))
        panel.button("Insert cell").click()
        wait_for(lambda: (root / "painted.png").exists())
        wait_for(lambda: "--mask-image painted.png" in panel.notebook.sources()[-1])
        mask = white(Image.open(root / "painted.png"))
        assert round(100 * mask.mean(), 1) == canvas.share
        only_inside(redrawn, start, mask)
        # Nothing sticks out to the side.
        assert panel.box.evaluate("box => box.scrollWidth <= box.clientWidth + 2")
