"""The panel for those who use keys, a screen reader or a narrow window: in a real browser, judged by axe-core."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import browser
import pytest
from test_browser import PanelPage, wait_for

SHOTS = os.environ.get("NBDIFFUSE_SHOTS")
AXE = importlib.util.find_spec("axe_playwright_python")
WHY = browser.missing() or ("" if AXE else 'axe-playwright-python is not installed: pip install "nbdiffuse[browser]"')
CELLS = ["%load_ext nbdiffuse", "import nbdiffuse\nnbdiffuse.panel('example:penguin', num_inference_steps=6)"]


def violations(page: Any) -> list[str]:
    """Return what axe-core finds wrong with the panel, a line each."""
    assert AXE is not None and AXE.origin is not None
    page.evaluate(Path(AXE.origin).with_name("axe.min.js").read_text("utf-8"))
    found = page.evaluate("axe.run('.nbdiffuse-panel')")
    assert len(found["passes"]) > 10
    return [f"{one['impact']} {one['id']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]]


@pytest.mark.skipif(bool(WHY), reason=WHY)
@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"], ids=["light", "dark"])
def test_keys_screen_readers_and_narrow_windows(theme: str, tmp_path: Path) -> None:
    shots = Path(SHOTS or tmp_path / "shots")
    shots.mkdir(parents=True, exist_ok=True)
    root = tmp_path / "notebooks"
    root.mkdir()
    browser.write_notebook(root / "panel.ipynb", CELLS)
    name = theme.split()[1].lower()
    with browser.jupyter(root, theme=theme) as address, browser.browser() as chromium:
        page = chromium.new_page(viewport={"width": 1300, "height": 1400})
        panel = PanelPage(browser.Notebook(page, address, "panel.ipynb"), shots)
        prompt, steps = panel.field("prompt"), panel.field("steps")

        # An empty prompt does not run, and a screen reader hears why at its box.
        prompt.press("Control+Enter")
        wait_for(lambda: prompt.get_attribute("aria-invalid") == "true", lambda: panel.status)
        told = page.locator(f"#{prompt.get_attribute('aria-describedby')}").inner_text()
        assert "`prompt` is empty" in told
        panel.shoot(f"{name}-empty-prompt")
        prompt.fill("a rocket in the jungle, vivid colors")
        wait_for(lambda: prompt.get_attribute("aria-invalid") is None)

        # Ctrl+Enter runs it and leaves the notebook's own cells alone; Esc stops.
        prompt.press("Control+Enter")
        wait_for(lambda: panel.box.locator(".nbd-past").count() == 1 and panel.button("Run").is_enabled(), lambda: panel.status)
        assert len(panel.notebook.sources()) == 2 and panel.field("seed").input_value() == ""
        knob = panel.box.get_by_role("slider", name="strength slider")
        assert "0.8, runs 4 of 6 steps" in knob.get_attribute("aria-valuetext")
        steps.click(click_count=3)
        page.keyboard.type("900")
        steps.press("Control+Enter")
        wait_for(lambda: "step" in panel.status and "left" in panel.status, lambda: panel.status)
        steps.press("Escape")
        wait_for(lambda: "Stopped" in panel.status, lambda: panel.status)

        panel.button("More settings").click()
        panel.button("Try several values").click()
        page.wait_for_timeout(1000)
        panel.shoot(f"{name}-everything")
        assert violations(page) == []

        # Run is in sight wherever one is in the controls.
        panel.notebook.command("application:toggle-left-area")
        for width in (500, 400):
            page.set_viewport_size({"width": width, "height": 800})
            panel.field("height").scroll_into_view_if_needed()
            wait_for(lambda: 0 < (panel.button("Run").bounding_box() or {"y": -1})["y"] < 300)
            page.screenshot(path=shots / f"{name}-{width}.png")
