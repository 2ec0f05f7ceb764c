"""What Tab offers on a magic's line, and in the steps of a chain."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..cells.chains import CHAIN_HELP
from ..cells.loopbacks import LOOP_HELP
from ..cells.options import completions
from ..cells.variables import names_of_pictures
from ..embedded.examples import EXAMPLES, MARK
from ..recipes.preset import TASKS
from ..recipes.presets import names_offered
from ..recipes.weights_source import source

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
_OWN_OPTIONS = {
    name: re.findall(r"^\s*(--[\w-]+)", text, re.M) for name, text in (("chain", CHAIN_HELP), ("loopback", LOOP_HELP))
}


def words_for(text: str, position: tuple[int, int], names: Mapping[str, Any]) -> tuple[list[str], str]:
    """Return the words that may stand where a person types, and the beginning of one that is there.

    Parameters
    ----------
    text
        The whole cell.
    position
        Line and column of the cursor, from 0.
    names
        The notebook's variables.
    """
    lines = text.split("\n")
    row, column = position
    before = lines[row][:column] if row < len(lines) else ""
    token = re.split(r"[ \[]" if row else " ", before)[-1]
    if row:
        words = _in_step(before) if text.startswith("%%chain") else []
    elif before.startswith("%diffuse "):
        words = _after_diffuse(before, names)
    else:
        words = _on_line(before, token, names)
    return [word for word in words if word.startswith(token)], token


def _on_line(before: str, token: str, names: Mapping[str, Any]) -> Sequence[str]:
    """Return what may follow on the line of a cell magic: options, their choices, or a picture."""
    magic = before[2:].split(" ")[0] if before.startswith("%%") and " " in before else ""
    if magic not in (*TASKS, *_OWN_OPTIONS):
        return ()
    task = magic if magic in TASKS else "img2img"
    found = completions(task, before)
    if found is None:
        return () if magic == "txt2img" else _pictures(token, names)
    return (*_OWN_OPTIONS.get(magic, ()), *found) if token.startswith("-") else found


def _in_step(before: str) -> Sequence[str]:
    """Return what may follow in a chain's step, `[preset --option value`: presets, options, their choices."""
    opened = re.fullmatch(r"\[([^\]]*)", before)
    if opened is None:
        return ()
    found = completions("img2img", f"%%img2img {opened[1]}")
    return names_offered(source()) if found is None and " " not in opened[1] else found or ()


def _pictures(token: str, names: Mapping[str, Any]) -> list[str]:
    """Return variables that hold pictures, picture files, folders, and the package's own pictures."""
    files = [name for name in sorted(glob.glob(glob.escape(token) + "*")) if name.lower().endswith(SUFFIXES)]
    return [*names_of_pictures(names), *files, *map(MARK.__add__, EXAMPLES)]


def _after_diffuse(before: str, names: Mapping[str, Any]) -> Sequence[str]:
    """Return the commands of `%diffuse`, or what one takes."""
    from .commands import DiffuseCommands, positions

    first, *rest = before.split(" ")[1:]
    if not rest:
        return tuple(dict.fromkeys(re.findall(r"%diffuse (\w+)", DiffuseCommands.diffuse.__doc__ or "")))
    if first in ("panel", "mask"):
        return _pictures(rest[-1], names)
    if first in ("script", "diff", "lineage", "verify", "replay", "plan"):
        return [*_made(names), *(_pictures(rest[-1], {}) if first not in ("script", "plan") and rest[-1] else [])]
    if first == "read":
        return _pictures(rest[-1], {})
    if first == "defaults":
        return completions("img2img", before) or ()
    if first == "optimize":
        return tuple(positions()) if len(rest) == 1 else positions().get(rest[0], ())
    return {"use": ("embedded", "hub"), "unload": names_offered(source())}.get(first, ()) if len(rest) == 1 else ()


def _made(names: Mapping[str, Any]) -> list[str]:
    """Return the variables that hold what this package made, the newest first."""
    own = [name for name, value in list(names.items()) if type(value).__module__.startswith("nbdiffuse.")]
    return [name for name in reversed(own) if not name.startswith("_")]
