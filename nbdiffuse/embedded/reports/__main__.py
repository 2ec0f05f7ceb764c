"""`python -m nbdiffuse.embedded.reports [MEMBER ...]`: print the table of what the embedded checkpoints can do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from ...library_logging import silence_libraries
from .. import holds, path
from ..world import STYLES
from . import adapters, base, edges, edits, family, holes, redrawn, segments, styles, upscalers
from .figures import Figure
from .sheets import contact_sheet

IMG2IMG = "-img2img"
"""What the name of a member has behind it where its image-to-image is measured by itself."""
REPORTS: dict[str, Callable[[int], list[Figure]]] = {
    "sd15": lambda count: base.measure(path("sd15"), count),
    f"sd15{IMG2IMG}": lambda count: redrawn.redrawn_figures(count // 4),
    "controlnet-depth": lambda count: family.controlnet_figures(count // 4),
    "controlnet-canny": lambda count: edges.edge_figures(count // 2),
    **{style: lambda count, style=style: styles.style_figures(style, count // 4) for style in STYLES},  # type: ignore[misc]
    "x2-upscaler": lambda count: upscalers.upscaler_figures("x2-upscaler", count // 2),
    "x4-upscaler": lambda count: upscalers.upscaler_figures("x4-upscaler", count // 2),
    "sdxl-refiner": lambda count: family.refiner_figures(count // 4) + family.growth_figures("sdxl-refiner", count // 4),
    "kandinsky22": lambda count: (
        family.followed_figures("kandinsky22", count, 4.0) + family.growth_figures("kandinsky22", count // 4)
    ),
    "segmenter": lambda count: segments.segment_figures(count // 2),
    "edit": lambda count: edits.edit_figures(count // 2),
    "inpaint": lambda count: holes.hole_figures(count // 2),
    "lcm-lora": lambda count: adapters.few_step_figures(count // 2),
    "ip-adapter": lambda count: adapters.palette_figures(count // 2),
    "sdxl": lambda count: family.followed_figures("sdxl", count, 5.0) + family.growth_figures("sdxl", count // 4),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m nbdiffuse.embedded.reports", description=__doc__)
    parser.add_argument("members", nargs="*", metavar="MEMBER", help=f"of {', '.join(REPORTS)}; all that ship by default")
    parser.add_argument("--count", type=int, default=200, help="prompts for the largest figures")
    parser.add_argument("--sheet", type=Path, help="also write a contact sheet to this PNG")
    arguments = parser.parse_args()
    silence_libraries()
    if arguments.sheet:
        contact_sheet(arguments.sheet, arguments.members)
    lines = ["| figure | measured | goal | met |", "| --- | --- | --- | --- |"]
    for member in arguments.members or [name for name in REPORTS if holds(name.removesuffix(IMG2IMG))]:
        lines += [figure.row() for figure in REPORTS[member](arguments.count)]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
