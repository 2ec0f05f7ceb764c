"""Whatever is shown as HTML: every text of a person or a file in it is text."""

from __future__ import annotations

import html.parser
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ipywidgets
import pytest
from PIL import Image

from nbdiffuse import Recipe, Session, resolve
from nbdiffuse.errors import ParameterError
from nbdiffuse.images.picture import Picture
from nbdiffuse.metadata.provenance import Provenance
from nbdiffuse.panels.chain_panel import ChainPanel
from nbdiffuse.panels.output import html_lines
from nbdiffuse.panels.recipe_panel import Panel
from nbdiffuse.panels.runtime import ipywidgets_parts
from nbdiffuse.panels.runtime.callback_thread import get_callback_thread
from nbdiffuse.results import Result
from nbdiffuse.runs.grid import Grid
from nbdiffuse.runs.verify import UNKNOWN, Verdict, Verification
from nbdiffuse.scripts.checking import Listed
from nbdiffuse.sessions import history
from nbdiffuse.sessions.history import History
from nbdiffuse.store.compare import Comparison, Side
from nbdiffuse.store.lineage import Lineage
from nbdiffuse.store.store import Store
from nbdiffuse.sweeps.sweep import Sweep

PICTURE = Image.new("RGB", (128, 128), (10, 200, 30))
PLAIN = "plain"
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><img src=x onerror=alert(1)>",
    '" onload="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    "javascript:alert(1)",
    '<a href="javascript:alert(1)">x</a>',
    "<style>*{display:none}</style>",
    "</style><b>",
    "</title></textarea></pre></code></script>",
    "</span></div></td></tr></table>",
    "<!-- comment",
    "--><b>",
    "<![CDATA[<b>]]>",
    "<?xml version='1.0'?>",
    "<!DOCTYPE html>",
    "<svg/onload=alert(1)>",
    "<math><mi//xlink:href='data:x,<b>'>",
    "<iframe srcdoc='<b>x</b>'>",
    "<base href=//evil.test>",
    "<meta http-equiv=refresh content=0>",
    "<form><input name=x>",
    "<details open ontoggle=alert(1)>",
    "&lt;b&gt; &amp;",
    "&amp;lt;b&amp;gt;",
    "&#60;script&#62;",
    "&#x3c;b&#x3e;",
    "&nbsp;&copy;&hellip;",
    "&",
    "<",
    ">",
    "<b",
    "a<b>c & d",
    "{{7*7}} ${7*7} <%= 7 %>",
    "\\u003cb\\u003e",
    "\u202e<b>live\u2066",
    "\uff1cb\uff1e",
    "漢字 🙂 <b>",
    "`<b>` $x$ $$<b>$$",
    "x" * 50 + "<b>",
]


class Page(html.parser.HTMLParser):
    """What a browser would make of HTML: its tags with their attributes' names, and its text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.text = ""
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attrs)))
        self.text += "".join(f" {value} " for name, value in attrs if name in ("alt", "aria-label", "download"))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(("/" + tag,))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment",))

    def handle_decl(self, decl: str) -> None:
        self.tags.append(("declaration",))

    def handle_pi(self, data: str) -> None:
        self.tags.append(("instruction",))

    def unknown_decl(self, data: str) -> None:
        self.tags.append(("declaration",))


def written(widget: Any) -> Iterator[str]:
    """Yield what stands in every HTML widget below a widget."""
    if isinstance(widget, (ipywidgets.HTML, ipywidgets.HTMLMath)):
        yield str(widget.value)
    for child in getattr(widget, "children", ()):
        yield from written(child)


def of_widgets(widget: Any, act: Callable[[], None]) -> str:
    get_callback_thread().call(act)
    return "".join(written(widget))


def result(text: str) -> Result:
    recipe = resolve(Recipe(prompt=text, negative_prompt=text, seed=1, image=Picture.of(PICTURE, label=text)))
    return Result(recipe.replace(checkpoint=text), (PICTURE,), PICTURE, 1.0, {}, notices=(text, "another"))


def plain_parts(text: str) -> str:
    thread = get_callback_thread()
    well = ipywidgets_parts.ImageInput("image", False, thread, lambda *_: None)
    well.show(lines_png(), text, text)
    compare = ipywidgets_parts.Compare()
    compare.show(lines_png(), lines_png(), text, text)
    empty = ipywidgets_parts.Compare()
    empty.show(b"", b"", text, text)
    hands = ipywidgets_parts.Clipboard(thread, lambda _: None)
    hands.hand_over(text, lines_png())
    return "".join(part for widget in (well, compare, empty, hands) for part in written(widget.widget))


def lines_png() -> bytes:
    from nbdiffuse.images.contact_sheets import png_bytes

    return png_bytes(PICTURE)


def shown(text: str, panel: Panel, chain: ChainPanel, folder: Path) -> dict[str, str]:
    """Return every piece of HTML that is made with a text, by where it stands."""
    made = result(text)
    output, box, fails = panel._output, panel._sweep, ParameterError(text)
    store = Store(folder)
    store.put(PICTURE, Provenance(made.recipe, {"torch": "2.9"}), 1.0)
    sides = (Side(text, made.recipe, {}, PICTURE), Side(text, made.recipe.replace(seed=2, prompt=text + "x"), {}, PICTURE))
    return {
        "a note": html_lines.note(text),
        "a status": html_lines.status(text),
        "an alert": html_lines.status(text, failed=True),
        "notices": html_lines.notices([text, text]),
        "a picture": html_lines.image(lines_png(), text),
        "a figure": html_lines.figure(lines_png(), text),
        "a panel's error": of_widgets(panel.widget, lambda: panel._fail(fails)),
        "a panel's line": of_widgets(panel.widget, lambda: panel.say(text)),
        "a panel that waits": of_widgets(panel.widget, lambda: output.waiting(text, 3.0)),
        "a panel's progress": of_widgets(panel.widget, lambda: output.progress_to(0.5, text)),
        "a panel's result": of_widgets(panel.widget, lambda: output.finish(made, text)),
        "a panel's notices": of_widgets(panel.widget, lambda: output.note([text, text])),
        "a sweep": of_widgets(
            panel.widget, lambda: box.show(Grid(Sweep.of(Recipe(prompt=text, seed=1), seed=[1, 2]), store=None))
        ),
        "a chain's error": of_widgets(chain.widget, lambda: chain._fail(fails)),
        "plain parts": plain_parts(text),
        "a comparison": Comparison(*sides).to_html(),
        "a timeline": History(store=store).to_html() + History((text,), store=store).to_html(),
        "a verdict": Verification((Verdict(text, UNKNOWN, None, ((text, text, text),), text),) * 2).to_html(),
        "a lineage": Lineage(made.recipe, PICTURE, text, "", (("image", Lineage(None, PICTURE, text, "")),)).to_html(),
        "a program": Listed(text, text).to_html(),
    }


@pytest.fixture
def panels(session: Session) -> tuple[Panel, ChainPanel]:
    first = Recipe(prompt="a cat", num_inference_steps=2, seed=7)
    return Panel(first, session), ChainPanel(first >> Recipe(prompt="a dog", strength=0.5), session)


def test_every_text_that_is_shown_as_html_is_text(
    panels: tuple[Panel, ChainPanel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What other tests ran would stand in the timeline, too, and answer some of the words.
    monkeypatch.setattr(history, "get_session", lambda: SimpleNamespace(history=[]))
    # What stood in the panels before stays in part; from the second time on it is the same.
    shown(PLAIN, *panels, tmp_path / "first")
    benign = {place: Page(content) for place, content in shown(PLAIN, *panels, tmp_path / "plain").items()}
    assert all(PLAIN in page.text for page in benign.values()), [p for p, page in benign.items() if PLAIN not in page.text]
    wrong = []
    for number, text in enumerate(HOSTILE):
        for place, content in shown(text, *panels, tmp_path / str(number)).items():
            page = Page(content)
            seen = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
            if page.tags != benign[place].tags or not (text in page.text or seen in page.text):
                wrong.append((place, text))
    assert wrong == [], wrong


def test_a_very_long_text_is_text() -> None:
    text = "<b>&\"'" * 170_000
    for make in (
        html_lines.note,
        html_lines.status,
        lambda long: html_lines.notices([long]),
        lambda long: html_lines.image(lines_png(), long),
    ):
        page = Page(make(text))
        assert page.tags == Page(make(PLAIN)).tags and text in page.text
