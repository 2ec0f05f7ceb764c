"""The option reference in docs/reference.md, made from the declarations: `python -m nbdiffuse.cells.reference` prints it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..families import table
from ..recipes import listing
from ..recipes.preset import SCHEDULERS, Preset
from ..recipes.presets import PRESETS
from ..recipes.recipe import PARAMS
from .flags import CELL_OPTIONS, fields_of, flag

_MODELS = (
    "Model",
    "Strength",
    "Guidance",
    "Steps",
    "Size here and on the hub",
    "Trigger",
    "On the hub",
    "Download",
    "Memory",
    "Licence",
)


def reference() -> str:
    """Compose the reference of options, models and families as Markdown tables."""
    lines = ["| Option | What it is | What it takes |", "| --- | --- | --- |"]
    known = {**fields_of("txt2img"), **fields_of("img2img")}
    for name in (name for name in PARAMS if name in known):
        param = known[name]
        names = f"`{flag(name)}`" + (f", `{param.short}`" if param.short else "")
        only = "" if name in fields_of("txt2img") else " (`%%img2img`)"
        lines.append(f"| {names} | {param.help}{only} | {param.rule} |")
    lines += [f"| `{flag(name)}` | {text} | |" for name, text in CELL_OPTIONS.items()]
    lines += ["", _line(_MODELS), _line(["---"] * len(_MODELS)), *(_row(preset) for preset in PRESETS.values()), "", listing.NOTE]
    lines += ["", *(_line(cells) for cells in (table.HEAD, ("---",) * len(table.HEAD), *table.rows()))]
    return "\n".join([*lines, "", "Schedulers: " + ", ".join(SCHEDULERS) + "."])


def _row(preset: Preset) -> str:
    origins = [origin for origin in (preset.embedded, preset.hub) if origin]
    sizes = ", ".join(str(origin.native_size) for origin in origins)
    hub = preset.hub
    on_hub = [hub.checkpoint, hub.download, hub.memory, "; ".join(filter(None, [hub.licence, hub.access]))] if hub else [""] * 4
    return _line([f"`{preset.name}`", *listing.numbers_of(preset, origins[-1]), sizes, preset.trigger, *on_hub])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(reference() + "\n")
