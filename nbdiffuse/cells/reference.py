"""The option reference of the README, made from the declarations: `python -m nbdiffuse.cells.reference` prints it."""

from __future__ import annotations

import sys

from ..recipes.preset import SCHEDULERS, Preset
from ..recipes.presets import PRESETS
from ..recipes.recipe import PARAMS
from .flags import fields_of, flag
from .options import CELL_OPTIONS


def reference() -> str:
    """Compose the reference of options and models as Markdown tables."""
    lines = ["| Option | What it is | What it takes |", "| --- | --- | --- |"]
    known = {**fields_of("txt2img"), **fields_of("img2img")}
    for name in (name for name in PARAMS if name in known):
        param = known[name]
        names = f"`{flag(name)}`" + (f", `{param.short}`" if param.short else "")
        only = "" if name in fields_of("txt2img") else " (`%%img2img`)"
        lines.append(f"| {names} | {param.help}{only} | {param.rule} |")
    lines += [f"| `{flag(name)}` | {text} | |" for name, text in CELL_OPTIONS.items()]
    lines += ["", "| Model | Strength | Guidance | Steps | Size here and on the hub | Trigger | On the hub |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- |", *(_row(preset) for preset in PRESETS.values())]
    return "\n".join([*lines, "", "Schedulers: " + ", ".join(SCHEDULERS) + "."])


def _row(preset: Preset) -> str:
    defaults = preset.defaults_for(preset.tasks[-1])
    numbers = [defaults.get(name) for name in ("strength", "guidance_scale", "num_inference_steps")]
    cells = [f"`{preset.name}`", *("" if number is None else f"{number:g}" for number in numbers)]
    origins = [origin for origin in (preset.embedded, preset.hub) if origin]
    cells.append(", ".join(str(origin.native_size) for origin in origins))
    cells += [preset.trigger, f"{preset.hub.checkpoint} ({preset.hub.licence})" if preset.hub else ""]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(reference() + "\n")
