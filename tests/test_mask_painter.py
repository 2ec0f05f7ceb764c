"""Painting a mask: the value that a canvas gives, the variable, the cell that holds it, the panel; and what is no mask."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from mask_surfaces import QUICK, square
from PIL import Image

import nbdiffuse
from nbdiffuse import Picture, Recipe, Session
from nbdiffuse.cells.variables import find_picture
from nbdiffuse.errors import ImageInputError, NbdiffuseError
from nbdiffuse.images.mask_shapes import blurred
from nbdiffuse.images.masks import as_mask
from nbdiffuse.magics.mask_command import paint_mask
from nbdiffuse.panels import mask_painter
from nbdiffuse.panels.inputs import mask_input
from nbdiffuse.panels.inputs.painted_mask import cell_of_mask, check_paintable
from nbdiffuse.panels.mask_painter import MaskPainter
from nbdiffuse.panels.recipe_panel import Panel
from nbdiffuse.panels.runtime import ipywidgets_parts
from nbdiffuse.panels.runtime.callback_thread import get_callback_thread


def paint(canvas: Any, mask: Image.Image, size: tuple[int, int] | None = None, pixels: bytes | None = None) -> None:
    """Send what a page sends when a person has painted."""
    deflated = zlib.compress(mask.tobytes() if pixels is None else pixels)
    middle = len(deflated) // 2
    for part, content in enumerate((deflated[:middle], deflated[middle:])):
        message = {"kind": "mask", "token": "page 1", "size": list(size or mask.size), "part": part, "parts": 2}
        canvas._take(canvas.widget, message, [memoryview(content)])
    get_callback_thread().settle()


@pytest.fixture
def start(scene: Any) -> Picture:
    return Picture.of(scene.image, "start.png")


def test_what_is_painted_is_the_value_that_the_same_file_is(start: Picture) -> None:
    heard: list[Picture] = []
    painter = MaskPainter(start, on_change=heard.append)
    assert heard == [as_mask(Picture.of(Image.new("L", start.size)))]
    paint(painter._canvas, square())
    file = Recipe(prompt="a cat", image=start, mask_image=square())
    assert Recipe(prompt="a cat", image=start, mask_image=painter.mask) == file
    assert heard[-1] == painter.mask and hash(heard[-1]) == hash(file.get("mask_image"))


def test_a_page_that_is_loaded_again_has_what_was_painted(start: Picture) -> None:
    painter = nbdiffuse.paint_mask(start, square(box=(0, 0, 9, 9)))
    paint(painter._canvas, square())
    assert zlib.decompress(painter._canvas.widget.mask) == square().tobytes()
    assert painter._canvas.widget.token == "page 1" and list(start.size) == painter._canvas.widget.size


@pytest.mark.parametrize(
    "given",
    [{"size": (64, 256)}, {"pixels": b"\0" * 100}, {"pixels": b"\0" * 10_000_000}],
    ids=["another-picture", "too-few-pixels", "too-many-pixels"],
)
def test_what_is_no_mask_of_this_picture_changes_nothing(start: Picture, given: dict[str, Any]) -> None:
    painter = MaskPainter(start)
    before = painter.mask
    paint(painter._canvas, square(), **given)
    assert painter.mask == before


@pytest.mark.parametrize("mask", [square(), blurred(square(), 4)], ids=["black-and-white", "soft"])
def test_a_cell_holds_the_mask(start: Picture, mask: Image.Image) -> None:
    text, names = cell_of_mask("sky", mask), {}
    exec(text, names)
    assert names["sky"] == Picture.of(mask) and names["sky"].label == "sky"
    assert max(map(len, text.splitlines())) <= 120


def test_the_saved_notebook_has_the_painted_picture(start: Picture) -> None:
    painter = MaskPainter(start, square())
    bundle = painter._static._bundle
    assert bundle["image/png"][:4] == b"\x89PNG" and bundle["text/plain"] == "nbdiffuse mask"
    painter.mask = square(box=(0, 0, 5, 5))
    assert painter._static._bundle["image/png"] != bundle["image/png"]


def test_the_command_puts_the_mask_into_a_variable_and_goes_on_from_it(start: Picture) -> None:
    names: dict[str, Any] = {"start": start}
    painter = paint_mask(nbdiffuse.panels, names, "start")
    assert names["mask"] == painter.mask and names["mask"].image.getextrema() == ((0, 0),) * 3
    paint(painter._canvas, square())
    again = paint_mask(nbdiffuse.panels, names, "start")
    assert again.mask == names["mask"] == Picture.of(square())
    # A picture of another size, or what is no picture, is not painted on.
    names["mask"] = Image.new("L", (8, 8), 255)
    assert paint_mask(nbdiffuse.panels, names, "start").mask == names["mask"] == Picture.of(Image.new("L", start.size))
    assert paint_mask(nbdiffuse.panels, names, "start", "sky").mask == names["sky"]


def test_painting_begins_from_what_a_model_selects(session: Session) -> None:
    start = Picture.of("example:cat")
    names: dict[str, Any] = {"start": start, "mask": square()}
    subject = session.select_mask(start, "auto:subject")
    painter = paint_mask(nbdiffuse.panels, names, "start", "auto:subject")
    assert painter.mask == names["mask"] == subject and painter._canvas.widget.token
    assert zlib.decompress(painter._canvas.widget.mask) == subject.image.convert("L").tobytes()
    paint(painter._canvas, square())
    assert names["mask"] == Picture.of(square())
    cat = paint_mask(nbdiffuse.panels, names, "start", "cat", "text:a cat")
    assert cat.mask == names["cat"] != names["mask"]
    assert nbdiffuse.paint_mask(start, "text:sky").mask == session.select_mask(start, "text:sky")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["start", "auto:subject", "text:sky"], "followed by a picture, one selection and one name, got 'auto:subject text:sky'"),
        (["start", "text:dragon"], "must name something that the segmenter knows, got 'dragon'"),
        ([], "must be followed by a picture"),
        (["nowhere.png"], "a file that exists"),
        (["start", "for"], "another variable, got 'for'"),
        (["start", "start"], "another variable, got 'start'"),
        (["start", "a.png"], "another variable, got 'a.png'"),
    ],
)
def test_bad_words_are_one_line(words: list[str], line: str, start: Picture) -> None:
    with pytest.raises(NbdiffuseError, match=line) as caught:
        paint_mask(nbdiffuse.panels, {"start": start}, *words)
    assert "\n" not in str(caught.value)


def test_a_picture_that_no_browser_has_a_canvas_for_is_refused() -> None:
    with pytest.raises(ImageInputError, match="at most 16,777,216 pixels to be painted over, got 4097x4096"):
        check_paintable(Picture.of(Image.new("RGB", (4097, 4096))))


def test_a_text_can_hold_a_picture(start: Picture) -> None:
    file = io.BytesIO()
    start.image.save(file, "PNG")
    text = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    assert Picture.of(text) == start == find_picture(text, {})
    with pytest.raises(ImageInputError, match="PNG, JPEG, WEBP"):
        Picture.of(text[:30])
    for cut in ("data:image/png,abc", "data:image/png;base64,", "data:image/png;base64,%%%"):
        with pytest.raises(ImageInputError, match="a data URL"):
            Picture.of(cut)


@pytest.fixture
def panel(start: Picture, session: Session) -> Iterator[Panel]:
    made = Panel(Recipe(**QUICK, image=start), session)
    yield made
    made.stop()
    made.wait()


def unfold(panel: Panel) -> Any:
    control = panel._controls._control("mask_image")
    control._paint.value = True
    panel._thread.settle()
    return control


def test_what_is_painted_in_the_panel_is_its_recipes_mask(panel: Panel, start: Picture) -> None:
    control = unfold(panel)
    paint(control._canvas, square())
    token = control._canvas.widget.token
    assert panel.recipe == Recipe(**QUICK, image=start, mask_image=square())
    # What comes from the page is not sent back to it.
    assert token == "page 1" == control._canvas.widget.token
    assert "painted.png" in panel.cell


def test_the_canvas_follows_the_picture_and_the_mask(panel: Panel, start: Picture) -> None:
    control = unfold(panel)
    panel.show(Recipe(**QUICK, image=start, mask_image=square()))
    assert zlib.decompress(control._canvas.widget.mask) == square().tobytes()
    # A mask of another size is painted on at the picture's own.
    other = Picture.of(start.image.resize((64, 96)), "other")
    panel.show(Recipe(**QUICK, image=other, mask_image=square()))
    assert control._canvas.widget.size == [64, 96] and len(zlib.decompress(control._canvas.widget.mask)) == 64 * 96
    control._clear.click()
    panel._thread.settle()
    assert set(zlib.decompress(control._canvas.widget.mask)) == {0}


def test_without_a_picture_it_says_so(panel: Panel) -> None:
    panel.show(Recipe(**{**QUICK, "strength": None}))
    control = panel._controls._control("mask_image")
    control._paint.value = True
    panel._thread.settle()
    assert mask_input.NO_PICTURE[:40] in control._said.value and control._canvas.widget.layout.display == "none"


def test_without_anywidget_a_line_says_what_to_do(panel: Panel, start: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (mask_input, mask_painter):
        monkeypatch.setattr(module, "MaskCanvas", ipywidgets_parts.MaskCanvas)
    monkeypatch.setattr(mask_painter, "LIVELY", False)
    control, painter = unfold(panel), MaskPainter(start)
    for canvas in (control._canvas, painter._canvas):
        assert "needs anywidget: pip install" in canvas.widget.value and "as a file" in canvas.widget.value
