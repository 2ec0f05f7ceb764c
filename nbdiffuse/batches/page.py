"""Page of a batch: every picture before and after in one file, to look through, sort and choose from without a kernel."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from ..files.paths import without_folders
from .outcome import Outcome
from .rows import Row

_STYLE = """
:root { color-scheme: light dark; font: 14px system-ui, sans-serif; }
body { margin: 2em; }
form { position: sticky; top: 0; padding: .5em 0; background: Canvas; }
form { display: flex; gap: 1em; flex-wrap: wrap; align-items: center; }
ul { list-style: none; padding: 0; display: grid; grid-template-columns: repeat(auto-fill, minmax(336px, 1fr)); gap: 12px; }
li { border: 1px solid color-mix(in srgb, CanvasText 25%, Canvas); border-radius: 6px; padding: 8px; }
li > div { display: flex; gap: 8px; align-items: flex-start; }
img { width: 160px; height: auto; background: color-mix(in srgb, CanvasText 8%, Canvas); }
p { margin: 6px 0 0; overflow-wrap: anywhere; }
small { opacity: .75; }
.failed { border-left: 4px solid #c33; }
button[aria-pressed=true] { font-weight: bold; }
"""
_SCRIPT = """
const list = document.querySelector('ul'), all = [...list.children];
const word = document.querySelector('[name=word]'), order = document.querySelector('[name=order]');
const only = document.querySelector('[name=starred]'), names = document.querySelector('output');
const key = 'nbdiffuse ' + location.pathname, stars = new Set(JSON.parse(localStorage.getItem(key) || '[]'));
function show() {
  const [number, way] = order.value.split(' ');
  // What was not measured comes last, whichever way round.
  const value = one => number in one.dataset ? (way === 'up' ? 1 : -1) * parseFloat(one.dataset[number]) : Infinity;
  const place = one => parseFloat(one.dataset.place);
  all.sort((a, b) => (value(a) === value(b) ? 0 : value(a) - value(b)) || place(a) - place(b));
  for (const one of all) {
    const starred = stars.has(one.dataset.name);
    one.hidden = !one.textContent.toLowerCase().includes(word.value.toLowerCase()) || (only.checked && !starred);
    const button = one.querySelector('button');
    button.textContent = starred ? '★' : '☆';
    button.setAttribute('aria-pressed', starred);
    list.append(one);
  }
  names.textContent = stars.size ? 'batch.again(' + JSON.stringify([...stars]) + ', "again")' : '';
}
list.addEventListener('click', event => {
  const button = event.target.closest('button');
  if (!button) return;
  const name = button.closest('li').dataset.name;
  stars.has(name) ? stars.delete(name) : stars.add(name);
  localStorage.setItem(key, JSON.stringify([...stars]));
  show();
});
document.querySelector('form').addEventListener('input', show);
document.querySelector('form').addEventListener('submit', event => event.preventDefault());
show();
"""


def page(
    title: str,
    rows: Sequence[Row],
    outcomes: Mapping[int, Outcome],
    notices: Sequence[str] = (),
    measures: Mapping[int, Mapping[str, float]] | None = None,
) -> str:
    """Compose the page.

    Parameters
    ----------
    title
        Heading; like every text here it is shown as typed, whatever it holds.
    rows, outcomes
        Of the batch; results are in their files beside the page.
    notices
        Lines that a person should read, above the pictures.
    measures
        What was measured, by a row's place and a metric's name.

    Returns
    -------
    str
        HTML 5 with a script of its own, which sorts, filters and stars, and with links to nothing but the results.
    """
    items = "".join(_item(place, row, outcomes.get(place), (measures or {}).get(place, {})) for place, row in enumerate(rows))
    said = "".join(f"<p>{_text(without_folders(line))}</p>" for line in notices)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title><style>{_STYLE}</style></head>'
        f"<body><h1>{_text(title)}</h1>{said}<form>"
        '<label>Filter <input name="word" type="search"></label>'
        '<label>Order <select name="order"><option value="place up">as given</option>'
        '<option value="seconds">slowest first</option>'
        '<option value="pixels">largest first</option><option value="failed">failed first</option>'
        f"{_orders(measures or {})}</select></label>"
        '<label><input name="starred" type="checkbox"> starred only</label><output></output></form>'
        f"<ul>{items}</ul><script>{_SCRIPT}</script></body></html>\n"
    )


def _orders(measures: Mapping[int, Mapping[str, float]]) -> str:
    """Return the ways to order by what was measured, the worst and the best first."""
    names = dict.fromkeys(name for values in measures.values() for name in values)
    return "".join(
        f'<option value="{name} {way}">{name}: {said} first</option>'
        for name in names
        for way, said in (("up", "lowest"), ("down", "highest"))
    )


def _item(place: int, row: Row, outcome: Outcome | None, measured: Mapping[str, float]) -> str:
    state = "missing" if outcome is None else outcome.state
    pictures = ""
    if outcome is not None and outcome.before:
        data = base64.b64encode(outcome.before).decode()
        pictures += f'<img src="data:image/jpeg;base64,{data}" alt="{_text(row.name)}, before">'
    if outcome is not None and outcome.state != "failed":
        link = quote(row.file)
        pictures += f'<a href="{link}"><img src="{link}" loading="lazy" alt="{_text(row.name)}, after"></a>'
    known = {"place": place, "name": row.name, "failed": int(state == "failed")}
    if outcome is not None and outcome.size is not None:
        known |= {"seconds": outcome.seconds or 0, "pixels": outcome.size[0] * outcome.size[1]}
    known |= {name: f"{value:.4g}" for name, value in measured.items()}
    data = " ".join(f'data-{name}="{_text(str(value))}"' for name, value in known.items())
    name = _text(row.name)
    star = f'<button type="button" title="star" aria-label="star {name}">☆</button>'
    details = f"<p>{star} {name}</p><p><small>{_text(_details(row, outcome, measured))}</small></p>"
    return f'<li class="{state}" {data}><div>{pictures}</div>{details}</li>'


def _details(row: Row, outcome: Outcome | None, measured: Mapping[str, float]) -> str:
    if outcome is None:
        return "not run"
    if outcome.error is not None:
        return f"{type(outcome.error).__name__}: {without_folders(str(outcome.error))}"
    size = f"{outcome.size[0]}x{outcome.size[1]}, " if outcome.size else ""
    seconds = "made earlier" if outcome.seconds is None else f"{outcome.seconds:.1f} s"
    own = {name: value for name, value in row.values.items() if isinstance(value, (str, int, float))}
    own |= {"prompt": outcome.prompt} if outcome.prompt and (row.words or row.prompting.changes) else {}
    numbers = "".join(f", {name} {value:.2f}" for name, value in measured.items())
    return f"{size}{outcome.steps} steps, {seconds}{numbers}" + (f", {json.dumps(own, ensure_ascii=False)}" if own else "")


def _text(text: str) -> str:
    # HTML knows no NUL, and a lone carriage return would be read as a line break.
    clean = text.replace("\0", "\N{REPLACEMENT CHARACTER}").replace("\r", "\n")
    return html.escape(clean.encode("utf-8", "replace").decode(), quote=True)
