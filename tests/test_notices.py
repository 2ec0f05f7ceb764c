"""Every notice of every picture and prompt reaches every surface, once."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from PIL import Image

from nbdiffuse import Recipe, Session, resolve, sweep
from nbdiffuse.panels.chain_panel import ChainPanel
from nbdiffuse.panels.recipe_panel import Panel
from nbdiffuse.recipes.notices import before_run, picture_notices
from nbdiffuse.results import Result
from nbdiffuse.runs.chain_run import ChainRun
from nbdiffuse.runs.grid import Grid
from nbdiffuse.runs.loopback import Loopback
from nbdiffuse.runs.notices import counted, numbered
from nbdiffuse.sessions import remote
from nbdiffuse.sessions.history import result_of
from nbdiffuse.store import index
from nbdiffuse.store.store import Store
from nbdiffuse.sweeps.sweep import Sweep

PROMPT = "a red bicycle, " + "word " * 90
SIX = {
    "transparency": "`image`: transparent pixels are composited on white",
    "first frame": "`image`: the first of 3 frames is used",
    "cut prompt": "tokens and 75 fit: this part is not seen",
    "mask of another shape": "`mask_image`: it has another shape than the picture that it lies over, 64x128 and 128x128",
    "colours in a mask": "`mask_image`: the mask is a colour picture: its brightness counts",
    "unknown words": 'was never shown "bicycle"',
}


def animation() -> bytes:
    """Return a WebP of three frames that can be seen through."""
    frames = [Image.new("RGBA", (128, 128), (200, 80 * number, 30, 90)) for number in range(3)]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    return file.getvalue()


def colored() -> Image.Image:
    values = np.zeros((128, 64, 3), np.uint8)
    values[32:96] = 255
    values[:32, :, 0] = 200
    return Image.fromarray(values)


def recipe(**more: Any) -> Recipe:
    given = {"prompt": PROMPT, "image": animation(), "mask_image": colored(), "num_inference_steps": 1, "strength": 1.0}
    return Recipe(**{**given, "seed": 1, "guidance_scale": 1, **more})


def each_once(lines: Sequence[str], of: Sequence[str] = tuple(SIX)) -> bool:
    """Tell whether each of the notices is in exactly one line."""
    counts = {name: sum(SIX[name] in line for line in lines) for name in of}
    assert counts == dict.fromkeys(of, 1), lines
    return True


@pytest.fixture
def cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Run a cell in this process and return the lines of text that it shows, beside its pictures."""
    monkeypatch.setenv("NBDIFFUSE_CACHE", str(tmp_path / "cache"))
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "nbdiffuse")
    (tmp_path / "start.webp").write_bytes(animation())
    shell.user_ns |= {"start": tmp_path / "start.webp", "mask": colored()}

    def run(text: str) -> list[str]:
        with capture_output() as seen:
            done = shell.run_cell(text.replace("PROMPT", PROMPT))
        assert done.success, seen.stdout
        return [output.data["text/plain"] for output in seen.outputs if "image/png" not in output.data]

    return run


HEADS = {
    "cell": "%%img2img FILE --mask-image mask -n 1 -s 1 -g 1 --seed 1\nPROMPT",
    "grid": "%%img2img FILE --mask-image mask -n 1 -s 1 -g 1 --seed 1,2,3\nPROMPT",
    "loopback": "%%loopback FILE --mask-image mask --passes 2 -n 1 -s 1 -g 1\nPROMPT",
    "chain": "%%chain FILE\n[sd15 --mask-image mask -n 1 -s 1 -g 1 --seed 1]\nPROMPT\n[sd15 -n 1 -s 1 --seed 1]\na cat",
    "grid of chains": (
        "%%chain FILE\n[sd15 --mask-image mask -n 1 -s 1 -g 1 --seed 1,2]\nPROMPT\n[sd15 -n 1 -s 1 --seed 1]\na cat"
    ),
}


@pytest.mark.parametrize("surface", HEADS)
def test_a_cell_shows_each_notice_once(surface: str, cell: Any, tmp_path: Path) -> None:
    lines = cell(HEADS[surface].replace("FILE", str(tmp_path / "start.webp")))
    assert each_once(lines)
    if surface == "grid":
        assert sum(line.startswith("All 3 images: ") for line in lines) == len(SIX)
        # What the store holds is shown with them again.
        assert each_once(cell(HEADS[surface].replace("FILE", str(tmp_path / "start.webp"))))


def shown(bundle: dict[str, Any]) -> list[str]:
    return str(bundle["text/plain"]).splitlines()


def test_results_hold_them_and_show_them_where_no_magic_does(session: Session) -> None:
    made = session.run(recipe())
    assert each_once(made.notices) and each_once(shown(made._repr_mimebundle_()))
    with_lines, without = (Image.open(io.BytesIO(one["image/png"])) for one in (made._repr_mimebundle_(), made.bundle()))
    assert with_lines.height > without.height
    plain = session.run(Recipe(prompt="a cat", num_inference_steps=1, seed=1))
    assert plain.notices == () and shown(plain._repr_mimebundle_()) == ["txt2img: result"]


@pytest.mark.parametrize("kind", ["grid", "loopback", "chain"])
def test_values_of_several_runs_hold_and_show_them(kind: str, session: Session, tmp_path: Path) -> None:
    second = Recipe(prompt="a cat", num_inference_steps=1, strength=1.0)
    made: Any = {
        "grid": lambda: Grid(Sweep.of(recipe(), seed=[1, 2]), session),
        "loopback": lambda: Loopback(recipe(), passes=2, session=session),
        "chain": lambda: ChainRun(recipe() >> second, session),
    }[kind]()
    made.run()
    known = [name for name in SIX if name != "cut prompt"]
    assert each_once(made.notices) and each_once(made.before_run, known) and each_once(shown(made._repr_mimebundle_()))
    assert not set(shown(made.bundle())) & set(made.notices)


def test_a_saved_folder_has_them_on_its_page(session: Session, tmp_path: Path) -> None:
    page = Grid(Sweep.of(recipe(), seed=[1, 2]), session).run().save(tmp_path / "grid").read_text("utf-8")
    paragraphs = [line.replace("&#x27;", "'").replace("&quot;", '"') for line in re.findall("<p>(.*?)</p>", page)]
    assert each_once(paragraphs)
    chains = sweep(recipe() >> Recipe(prompt="a cat", num_inference_steps=1, strength=1.0), **{"1.seed": [1, 2]})
    page = chains.run().save(tmp_path / "chains").read_text("utf-8")
    paragraphs = [line.replace("&#x27;", "'").replace("&quot;", '"') for line in re.findall("<p>(.*?)</p>", page)]
    assert each_once(paragraphs)


def text_of(html: str) -> list[str]:
    found = re.findall('<div class="nbd-note">(.*?)</div>', html)
    return [line.replace("&#x27;", "'").replace("&quot;", '"') for line in found]


def test_a_panel_shows_them_before_and_after_and_below_its_sweep(session: Session) -> None:
    panel = Panel(recipe(), session)
    panel._thread.settle()
    assert each_once(text_of(panel._output._notes.value), [name for name in SIX if name != "cut prompt"])
    panel.run()
    panel.wait()
    panel._thread.settle()
    assert each_once(text_of(panel._output._notes.value))
    grid = Grid(Sweep.of(recipe(), seed=[1, 2]), session).run()
    panel._thread.call(lambda: panel._sweep.show(grid))
    assert each_once(text_of(panel._sweep._notes.value))


def test_a_chain_panel_shows_them_of_every_step(session: Session) -> None:
    panel = ChainPanel(Recipe(prompt="a cat", num_inference_steps=1, seed=1) >> recipe(image=None, mask_image=None), session)
    panel._thread.settle()
    assert each_once(text_of(panel._output._notes.value), ["unknown words"])
    panel.run()
    panel.wait()
    panel._thread.settle()
    assert each_once(text_of(panel._output._notes.value), ["unknown words", "cut prompt"])
    panel.show(recipe() >> Recipe(prompt="a cat", num_inference_steps=1, strength=1.0))
    panel.run()
    panel.wait()
    panel._thread.settle()
    assert each_once(text_of(panel._output._notes.value))


def test_workers_and_the_store_bring_them_back(session: Session, tmp_path: Path) -> None:
    complete = resolve(recipe())
    sent = remote.unpacked(remote.run(*remote.packed(complete)), complete)
    assert isinstance(sent, Result) and each_once(sent.notices)
    store = Store(tmp_path)
    assert index.keep(sent, store) is None
    (loaded,) = map(store.load, store.entries())
    assert loaded is not None
    found = result_of(*loaded, 0.0, index.PictureIndex(store))
    assert each_once(found.notices, ["cut prompt", "mask of another shape", "colours in a mask", "unknown words"])
    (again,) = Grid(Sweep.of(recipe()), session, store).run()
    assert each_once(again.notices)


def test_what_is_stored_is_not_said_of_another_picture_with_the_same_pixels(session: Session, tmp_path: Path) -> None:
    see_through = Image.new("RGBA", (128, 128), (200, 80, 30, 90))
    plain = Recipe(image=see_through).image.image
    store, given = Store(tmp_path), {"mask_image": None, "prompt": "a cat"}
    (first,) = Grid(Sweep.of(recipe(**given, image=see_through)), session, store).run()
    (second,) = Grid(Sweep.of(recipe(**given, image=plain)), session, store).run()
    assert len(first.notices) == 1 and second.notices == () and len(list(store.entries())) == 1
    assert first.under(second.recipe).notices == ()


@pytest.mark.parametrize("mode", ["fit", "crop", "pad"])
def test_what_becomes_of_a_picture_of_another_shape_is_said(mode: str) -> None:
    # Whatever becomes of the initial picture, what lies over it covers all of it.
    (line,) = (one for one in before_run(resolve(recipe(resize_mode=mode))) if "another shape" in one)
    assert line.endswith("it is stretched")
    control = {"mask_image": None, "controlnet": "depth", "control_image": colored()}
    assert any(line.startswith("`control_image`: it has another shape") for line in picture_notices(resolve(recipe(**control))))


def test_grey_masks_of_the_pictures_shape_have_no_notice() -> None:
    rng = np.random.default_rng(0)
    grey = Image.fromarray(rng.integers(0, 255, (96, 96), np.uint8))
    jpeg = io.BytesIO()
    grey.convert("RGB").save(jpeg, "JPEG", quality=60)
    start = Image.new("RGB", (128, 128))
    for mask in (grey, grey.convert("1"), jpeg.getvalue(), grey.convert("RGB").resize((129, 128))):
        assert before_run(resolve(Recipe(prompt="a cat", image=start, mask_image=mask))) == ()


def test_lines_are_counted_and_numbered() -> None:
    groups = [["a", "b", "a"], ["a"], []]
    assert counted(groups, "images") == ("2 of 3 images: a", "1 of 3 images: b")
    assert counted([["a"]] * 25, "images") == ("All 25 images: a",) and counted([["a"]], "images") == ("a",)
    assert numbered(groups, "Step") == ("Steps 1, 2: a", "Step 1: b")
