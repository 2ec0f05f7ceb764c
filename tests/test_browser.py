"""The panel in a real browser: what a person does with it, in JupyterLab and in Notebook 7."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import browser
import pytest
from PIL import Image
from waiting import wait_for

from nbdiffuse.embedded.world import sample

CELLS = ["%load_ext nbdiffuse", "%diffuse panel"]
SHOTS = os.environ.get("NBDIFFUSE_SHOTS")
"""Folder where the screenshots are kept; a folder of the test run's when not set."""
APPS = [pytest.param(app, marks=pytest.mark.skipif(bool(why := browser.missing(app)), reason=why)) for app in browser.APPS]


class PanelPage:
    """The panel of an open notebook, by what a person sees of it."""

    def __init__(self, notebook: browser.Notebook, shots: Path) -> None:
        self.notebook, self.page, self.shots = notebook, notebook.page, shots
        notebook.command("notebook:run-all-cells")
        self.box = self.page.locator(".nbdiffuse-panel")
        self.box.wait_for()
        self.page.locator(".nbd-image-input").first.wait_for()

    def button(self, name: str) -> Any:
        # The tooltip stands in for the name here, so the text is looked for.
        return self.box.locator("button").filter(has_text=re.compile(rf"^\s*{name}\s*$"))

    @property
    def status(self) -> str:
        return str(self.box.locator(".nbd-status, .nbd-alert").first.inner_text())

    @property
    def picture(self) -> str:
        shown = self.box.locator(".nbd-compare img")
        return str(shown.last.get_attribute("src")) if shown.count() else ""

    def field(self, label: str) -> Any:
        return self.box.get_by_label(label, exact=True).and_(self.box.locator("input, textarea"))

    def type(self, label: str, text: str) -> None:
        field = self.field(label)
        field.fill(text)
        field.press("Tab")

    def shoot(self, name: str) -> None:
        self.box.scroll_into_view_if_needed()
        self.page.wait_for_timeout(300)
        self.page.screenshot(path=self.shots / f"{name}.png", full_page=True)

    def until(self, true: Callable[[], Any]) -> None:
        """Wait until something is true of the page."""
        wait_for(true, lambda: f"the panel says {self.status!r}", every=0.1)

    def run(self) -> None:
        before = self.box.locator(".nbd-past").count()
        self.button("Run").click()
        self.until(lambda: self.box.locator(".nbd-past").count() > before and self.button("Run").is_enabled())


def values_sent(page: Any) -> list[Any]:
    """Return a list to which every value is added that the page tells the kernel from now on."""
    found: list[Any] = []

    def hear(frame: str | bytes) -> None:
        text = frame if isinstance(frame, str) else frame.decode("utf-8", "replace")
        for state in re.findall(r'"method":"update","state":(\{.*?\}),"buffer_paths"', text):
            found.extend(value for name, value in json.loads(state).items() if name == "value")

    page.on("websocket", lambda socket: socket.on("framesent", hear))
    return found


@pytest.mark.parametrize("app", APPS)
def test_a_person_uses_the_panel(app: str, tmp_path: Path) -> None:
    shots = Path(SHOTS or tmp_path / "shots")
    shots.mkdir(parents=True, exist_ok=True)
    root = tmp_path / "notebooks"
    root.mkdir()
    sample(3_000_110).image.save(root / "start.png")
    browser.write_notebook(root / "panel.ipynb", CELLS)
    with browser.jupyter(root, app) as address, browser.browser() as chromium:
        page = chromium.new_page(viewport={"width": 1300, "height": 1500})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(f"{error}\n{error.stack}"))
        sent = values_sent(page)
        panel = PanelPage(browser.Notebook(page, address, "panel.ipynb", app), shots)

        # An image is uploaded, a prompt typed, a slider moved.
        page.locator("input[type=file]").first.set_input_files(root / "start.png")
        panel.until(lambda: "start.png" in panel.box.inner_text())
        panel.type("prompt", "cat wizard, gandalf, fantasy")
        panel.type("seed", "1")
        strength = panel.box.get_by_role("slider", name="strength")
        strength.focus()
        strength.press("PageUp")
        panel.until(lambda: "strength 0.9 × 50" in panel.status)

        # A preview comes, then the result.
        panel.button("Run").click()
        panel.until(lambda: "step" in panel.status and panel.picture)
        preview = panel.picture
        panel.until(lambda: panel.box.locator(".nbd-past").count() == 1 and panel.button("Run").is_enabled())
        first = panel.picture
        assert first != preview
        # Nothing that the panel showed of itself came back as if a person had set it.
        assert set(sent) == {"cat wizard, gandalf, fantasy", "1", 45}, sent
        panel.shoot(f"{app}-result")

        # A run is stopped: what was there before comes back.
        panel.type("steps", "900")
        panel.button("Run").click()
        panel.until(lambda: "step" in panel.status)
        panel.button("Stop").click()
        panel.until(lambda: "Stopped" in panel.status and panel.button("Run").is_enabled())
        assert panel.box.locator(".nbd-past").count() == 1

        # Another result, and back to the first one's settings.
        panel.type("steps", "10")
        panel.type("guidance scale", "2")
        panel.run()
        panel.box.locator(".nbd-past button").last.click()
        # Every control has a message of its own, so they do not all move at once.
        panel.until(lambda: panel.field("guidance scale").input_value() == "7.5")
        panel.until(lambda: panel.field("steps").input_value() == "50")

        # The cell that makes it, inserted below and run.
        panel.button("Insert cell").click()
        # The cell is there before its text is.
        panel.until(lambda: len(panel.notebook.sources()) == 3 and panel.notebook.sources()[2])
        cell = panel.notebook.sources()[2]
        assert cell.startswith("%%img2img start.png") and "cat wizard, gandalf, fantasy" in cell
        assert "--strength 0.9" in cell and "--noise" not in cell, cell
        panel.notebook.command("notebook:run-all-below")
        panel.until(lambda: page.locator(".jp-Cell").nth(2).locator(".jp-OutputArea img").count() > 0)
        panel.notebook.save()
        # Notebook 7 says this of its own settings, without a panel too.
        assert not [problem for problem in problems if "reading 'schema'" not in problem]
    saved = (root / "panel.ipynb").read_text()
    assert "image/png" in saved.partition("%%img2img")[0] and "nbdiffuse panel" in saved


@pytest.mark.skipif(bool(why := browser.missing()), reason=why)
@pytest.mark.parametrize(("theme", "width"), [("JupyterLab Dark", 1300), ("JupyterLab Light", 800)], ids=["dark", "narrow"])
def test_it_is_readable_in_the_dark_and_in_a_narrow_window(theme: str, width: int, tmp_path: Path) -> None:
    shots = Path(SHOTS or tmp_path / "shots")
    shots.mkdir(parents=True, exist_ok=True)
    root = tmp_path / "notebooks"
    root.mkdir()
    sample(3_000_110).image.save(root / "start.png")
    cells = [
        "%load_ext nbdiffuse",
        "import nbdiffuse\nnbdiffuse.panel('start.png', prompt='cat wizard', seed=1, num_inference_steps=10)",
    ]
    browser.write_notebook(root / "panel.ipynb", cells)
    with browser.jupyter(root, theme=theme) as address, browser.browser() as chromium:
        page = chromium.new_page(viewport={"width": width, "height": 1500})
        panel = PanelPage(browser.Notebook(page, address, "panel.ipynb"), shots)
        panel.run()
        panel.button("Try several values").click()
        name = "dark" if "Dark" in theme else "narrow"
        panel.shoot(name)
        # Nothing sticks out to the side.
        assert panel.box.evaluate(
            "box => [...box.querySelectorAll('*')].every(part => "
            "part.getBoundingClientRect().right <= box.getBoundingClientRect().right + 2 || !part.offsetWidth)"
        )
        light = page.evaluate("document.body.dataset.jpThemeLight")
        color = page.locator(".nbd-status").first.evaluate("line => getComputedStyle(line).color")
        shades = [int(number) for number in re.findall(r"\d+", color)[:3]]
        assert (sum(shades) < 300) == (light == "true"), color
    assert Image.open(shots / f"{name}.png").size[0] == width


@pytest.mark.skipif(bool(why := browser.missing()), reason=why)
@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"], ids=["light", "dark"])
def test_a_chain_is_put_together_and_run(theme: str, tmp_path: Path) -> None:
    shots = Path(SHOTS or tmp_path / "shots")
    shots.mkdir(parents=True, exist_ok=True)
    root = tmp_path / "notebooks"
    root.mkdir()
    sample(3_000_110).image.save(root / "start.png")
    first = "nbdiffuse.Recipe(prompt='cat wizard', image='start.png', strength=0.6, seed=1, num_inference_steps=20)"
    second = "nbdiffuse.Recipe(prompt='cat wizard, charliebo artstyle', model='comic', num_inference_steps=20)"
    cells = ["%load_ext nbdiffuse", f"import nbdiffuse\nnbdiffuse.panel({first} >> {second})"]
    browser.write_notebook(root / "panel.ipynb", cells)
    with browser.jupyter(root, theme=theme) as address, browser.browser() as chromium:
        page = chromium.new_page(viewport={"width": 1300, "height": 1500})
        panel = PanelPage(browser.Notebook(page, address, "panel.ipynb"), shots)

        def run(steps: int) -> None:
            panel.button("Run").click()
            panel.until(lambda: f"chain: {steps} of {steps} steps" in panel.status)

        run(2)
        panel.shoot(f"chain-{theme.split()[1].lower()}")
        # A step is added at the end, where its controls are open.
        panel.button("Add a step").click()
        panel.until(lambda: panel.box.locator(".nbd-step").count() == 3)
        last = panel.box.locator(".nbd-step").last
        panel.until(lambda: last.get_by_label("prompt", exact=True).and_(last.locator("textarea")).is_visible())
        run(3)
        panel.box.locator(".nbd-step").last.locator("button").filter(has_text="Remove").click()
        panel.until(lambda: panel.box.locator(".nbd-step").count() == 2)
        panel.button("Insert cell").click()
        panel.until(lambda: len(panel.notebook.sources()) == 3 and panel.notebook.sources()[2])
        assert panel.notebook.sources()[2].startswith("%%chain start.png\n[sd15 ")
