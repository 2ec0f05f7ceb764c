"""What nbval leaves open: cells whose reply is an error, displays that are updated, and pictures."""

from __future__ import annotations

import base64
import io
import os
import re
import tempfile
from typing import Any

import nbval.kernel
import nbval.plugin
from nbformat import NotebookNode
from PIL import Image, ImageChops, ImageStat

from nbdiffuse.recipes import weights_source

# What an earlier version stored must not answer for this one.
os.environ["NBDIFFUSE_CACHE"] = tempfile.mkdtemp(prefix="nbdiffuse-notebooks-")

TOLERANCE = 3.0
"""Largest mean difference, of 255, between a stored picture and a fresh one."""
PACE = re.compile(r", (about \d+(\.\d)? (s|min|h)|\d+ steps?)(?=$|; results go to )", re.MULTILINE)
"""What the line before a grid or a batch says of this machine."""

_get_message = nbval.kernel.RunningKernel.get_message
_runtest = nbval.plugin.IPyNbCell.runtest
_compare = nbval.plugin.IPyNbCell.compare_outputs


def get_message(kernel: Any, stream: str, timeout: float | None = None) -> Any:
    """Follow updates of a display, and remember the reply's status."""
    message = _get_message(kernel, stream, timeout=timeout)
    content = message["content"]
    name = content.get("transient", {}).get("display_id")
    displays = kernel.__dict__.setdefault("displays", {})
    if message["msg_type"] == "display_data" and name:
        content["data"] = displays[name] = NotebookNode(content["data"])
    elif message["msg_type"] == "update_display_data" and name in displays:
        displays[name].update(content["data"])
    elif stream == "shell" and message["msg_type"] == "execute_reply":
        kernel.last_reply = content
    return message


def runtest(cell: Any) -> None:
    """Fail a cell whose reply is an error, also when no error output arrives (IPython's UsageError)."""
    _runtest(cell)
    reply = getattr(cell.parent.kernel, "last_reply", {})
    if reply.get("status") == "error" and not cell.options["check_exception"]:
        cell.raise_cell_error(f"The cell ended with {reply.get('ename')}: {reply.get('evalue')}")


def pictures(outputs: Any) -> list[Image.Image]:
    """Return the pictures among a cell's outputs, on white."""
    found = []
    for output in outputs:
        data = output.get("data", {})
        for kind in ("image/png", "image/jpeg"):
            if kind in data:
                picture = Image.open(io.BytesIO(base64.b64decode(data[kind]))).convert("RGBA")
                white = Image.new("RGBA", picture.size, "white")
                found.append(Image.alpha_composite(white, picture).convert("RGB"))
                break
    return found


def compare_outputs(cell: Any, test: Any, ref: Any, skip_compare: Any = None) -> bool:
    """Compare as nbval does, then the pictures: their number, and on the embedded family what they show, within `TOLERANCE`.

    HTML is left out: what it shows, such as a program, names the checkpoint. The text beside it does not.
    """
    for output in (*test, *ref):
        if "text/plain" in output.get("data", {}):
            output["data"]["text/plain"] = PACE.sub("", output["data"]["text/plain"])
    if not _compare(cell, test, ref, (*(skip_compare or cell.parent.skip_compare), "text/html")):
        return False
    fresh, stored = pictures(test), pictures(ref)
    if len(fresh) != len(stored):
        cell.comparison_traceback.append(f"{len(fresh)} pictures, stored {len(stored)}")
        return False
    if weights_source.source() != "embedded":
        return True
    for index, (a, b) in enumerate(zip(fresh, stored, strict=True)):
        worst = max(ImageStat.Stat(ImageChops.difference(a, b)).mean) if a.size == b.size else 255.0
        if worst > TOLERANCE:
            cell.comparison_traceback.append(
                f"picture {index}: mean difference {worst:.1f} > {TOLERANCE}, sizes {a.size} {b.size}"
            )
            return False
    return True


nbval.kernel.RunningKernel.get_message = get_message
nbval.plugin.IPyNbCell.runtest = runtest
nbval.plugin.IPyNbCell.compare_outputs = compare_outputs
