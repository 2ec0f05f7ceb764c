"""Main: a command's words become a cell, and what comes of it an exit code."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from ..cells.flags import Parser
from ..cells.options import help_text
from ..errors import FileError, ImageInputError, Interrupted, NbdiffuseError, ParameterError, breaks_rule
from ..files.paths import path_of
from ..version import __version__
from .carry_out import MAGICS, TASKS, carried_out
from .report import Report

DONE, FAILED, REFUSED, STOPPED = 0, 1, 2, 130
"""Exit codes: all is there; something failed; nothing was begun; it was interrupted."""
HELP = """nbdiffuse {version}: image-to-image diffusion without a notebook.

    python -m nbdiffuse img2img PICTURES --prompt TEXT [--out PLACE] [options of %%img2img]
    python -m nbdiffuse txt2img --prompt TEXT [--out FILE] [options of %%txt2img]
    python -m nbdiffuse edit PICTURES --prompt INSTRUCTION [--out PLACE] [options of %%edit]
    python -m nbdiffuse run CELL.txt [--out PLACE]

PICTURES is a file, a folder, a .zip, a pattern such as "shots/*.png", a film, or with --table a table's rows.
CELL.txt has a cell as it stands in a notebook: %%img2img, %%txt2img, %%edit, %%chain or %%loopback.

  --prompt TEXT        what to draw; - reads it from standard input
  --out PLACE          file of the result, or folder of many; beside the pictures when not given
  --json               one JSON object a line, for other programs
  --options TASK       every option of img2img, txt2img or edit

Exit codes: 0 all is there, 1 something failed, 2 nothing was begun, 130 interrupted. A batch goes on where it stopped.
"""


def main(words: Sequence[str]) -> int:
    """Carry out a command and return its exit code.

    Parameters
    ----------
    words
        What stands behind `python -m nbdiffuse`.
    """
    report = Report("--json" in words)
    try:
        given = _read(words)
        if given is None:
            return DONE
        task, line, body, place = given
        return DONE if carried_out(task, line, body, place, report) else FAILED
    except (Interrupted, KeyboardInterrupt) as error:
        report.fail(error if isinstance(error, Interrupted) else Interrupted("Stopped. What was finished is kept."))
        return STOPPED
    except (ParameterError, ImageInputError, FileError) as error:
        report.fail(error)
        return FAILED if report.begun else REFUSED
    except NbdiffuseError as error:
        report.fail(error)
        return FAILED


def _read(words: Sequence[str]) -> tuple[str, str, str, str | None] | None:
    """Return the magic, its line, its body and where results go; None where only help was asked for."""
    out = Report(False)
    if not words or words[0] in ("-h", "--help", "help"):
        out.say("help", HELP.format(version=__version__).rstrip())
        return None
    task, rest = words[0], [word for word in words[1:] if word != "--json"]
    if task == "--options":
        out.say("help", _options_of(rest))
        return None
    parser = Parser(prog="python -m nbdiffuse")
    parser.add_argument("--out")
    parser.add_argument("--prompt")
    known, others = parser.parse_known_args(rest)
    if task == "run":
        return (*_cell_in(others, known), known.out)
    if task not in TASKS:
        raise ParameterError(breaks_rule("command", f"one of {', '.join((*TASKS, 'run'))}", task, "`--help` lists them."))
    if "-h" in others or "--help" in others:
        out.say("help", _options_of([task]))
        return None
    # Prompts from a file need none around them.
    prompt = "{prompt}" if known.prompt is None and any(word.split("=")[0] == "--prompts" for word in others) else known.prompt
    return task, shlex.join(others), _prompt(prompt), known.out


def _options_of(words: Sequence[str]) -> str:
    if len(words) != 1 or words[0] not in TASKS:
        raise ParameterError(breaks_rule("--options", f"followed by one of {', '.join(TASKS)}", " ".join(words)))
    return help_text(words[0])


def _prompt(text: str | None) -> str:
    if text is None:
        raise ParameterError("`--prompt` must say what to draw, got none. Write --prompt 'a fox in the snow'.")
    if text != "-":
        return text
    return sys.stdin.read()


def _cell_in(words: Sequence[str], known: argparse.Namespace) -> tuple[str, str, str]:
    """Read a cell from a file: the magic with its line, and the body."""
    if len(words) != 1 or known.prompt is not None:
        raise ParameterError(
            breaks_rule("run", "followed by one file with a cell", " ".join(words), "Options stand in the cell.")
        )
    path: Path = path_of(words[0], "run")
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or "it is not UTF-8"
        raise FileError(f"{path} cannot be read: {cause}.") from None
    line, _, body = text.lstrip().partition("\n")
    name, _, rest = line.partition(" ")
    if name.removeprefix("%%") not in MAGICS or not name.startswith("%%"):
        rule = f"a file that begins with {', '.join('%%' + magic for magic in MAGICS)}"
        raise ParameterError(breaks_rule("run", rule, line[:60]))
    return name[2:], rest.strip(), body
