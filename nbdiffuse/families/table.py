"""The families as a table: what each is called, how it is run, and what its calls take."""

from __future__ import annotations

from .families import FAMILIES
from .family import Family
from .parameters import number_text

HEAD = ("family", "is", "modes", "steps of N at strength s", "sides", "guidance", "takes")
_STEPS = {"floor": "int(N × s)", "ceil": "ceil(N × s)", "all": "N", "distilled": "N, by s from the distillation's"}
_SCALES = ("guidance_scale", "true_cfg_scale", "image_guidance_scale")
_EVERYWHERE = frozenset({"negative_prompt", "num_inference_steps", "resize_mode", "strength", "noise", "mask_overlay", *_SCALES})


def rows() -> list[tuple[str, ...]]:
    """Return a row for each family, under the names of `HEAD`."""
    return [_row(family) for family in FAMILIES.values()]


def _ip_adapters(family: Family) -> str:
    return "ip_adapter" if family.takes_ip_adapters else ""


def _references(family: Family) -> str:
    """Say how many further pictures each mode looks at."""
    return ", ".join(f"up to {most} image_reference ({mode})" for mode, most in family.references.items())


def _row(family: Family) -> tuple[str, ...]:
    mode = "img2img" if "img2img" in family.pipelines else list(family.pipelines)[-1]
    defaults = family.defaults(mode)
    steps = _STEPS[family.steps] if "strength" in family.fields else "N, without strength"
    if "strength" in family.fields and "edit" in family.pipelines:
        steps = f"N; with a mask {steps}"
    scales = [f"{name} {number_text(defaults[name])}" for name in _SCALES if isinstance(defaults.get(name), (int, float))]
    negative = "" if "negative_prompt" in family.fields else "no negative_prompt"
    further = [name for name in sorted(family.fields) if name not in _EVERYWHERE and not name.startswith("control")]
    return (
        family.key,
        family.title,
        ", ".join(family.pipelines),
        steps,
        f"multiples of {family.size_multiple}" if family.scale == 1 else f"x{family.scale}",
        ", ".join(scales),
        ", ".join(
            [
                *further,
                *filter(None, [_references(family), _ip_adapters(family), negative]),
                *(f"needs {one}" for one in family.libraries),
            ]
        ),
    )
