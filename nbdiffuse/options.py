"""A magic's line and body as values: every option derives from the recipe's declarations."""

from __future__ import annotations

import argparse
import re
import shlex
from dataclasses import dataclass
from typing import Any, NoReturn

from . import a1111
from .errors import ParameterError, breaks_rule, did_you_mean
from .presets import PRESETS, SCHEDULERS
from .recipe import PARAMS, Param

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Cell:
    """What a cell asks for.

    Parameters
    ----------
    values
        Recipe fields by name; `image` is still the word that was typed.
    out
        Variable that receives the result, or None.
    save
        File that receives it, or None.
    notices
        Lines a person should read: what could not be carried over.
    """

    values: dict[str, Any]
    out: str | None
    save: str | None
    notices: tuple[str, ...] = ()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        missing = re.fullmatch(r"argument (\S+): expected one argument", message)
        if missing:
            raise ParameterError(f"`{missing[1].split('/')[0]}` must be followed by a value, got none.")
        raise ParameterError(message[:1].upper() + message[1:] + ".")


def flag(name: str) -> str:
    """Return a field's long option, such as `--guidance-scale`."""
    return "--" + name.replace("_", "-")


def fields_of(task: str) -> dict[str, Param]:
    """Return the declarations that a task takes as options."""
    unwanted = {"prompt", "image"} | ({"strength", "resize_mode"} if task == "txt2img" else set())
    return {name: param for name, param in PARAMS.items() if name not in unwanted}


def _parser(task: str) -> _Parser:
    parser = _Parser(prog=f"%%{task}", add_help=False, allow_abbrev=False, usage=argparse.SUPPRESS)
    for name, param in fields_of(task).items():
        names = [flag(name)] + ([flag(name).replace("-", "_").replace("__", "--", 1)] if "_" in name else [])
        parser.add_argument(*names, *([param.short] if param.short else []), dest=name)
    parser.add_argument("--out")
    parser.add_argument("--save")
    return parser


def number(name: str, text: str) -> float | int:
    """Read a number typed in ASCII digits; whole numbers stay whole."""
    if not NUMBER.fullmatch(text):
        raise ParameterError(breaks_rule(name, PARAMS[name].rule, text))
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)


def _typed(name: str, text: str) -> Any:
    param = PARAMS[name]
    return param.check(name, text if param.kind is str else number(name, text))


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise ParameterError(f"The line cannot be read: {str(error).lower()}. Close the quotes.") from None


def parse_cell(task: str, line: str, body: str) -> Cell:
    """Read a cell of `%%img2img` or `%%txt2img`.

    Parameters
    ----------
    task
        "img2img" or "txt2img".
    line
        The rest of the magic's line: for img2img a picture, then options.
    body
        The prompt; a line that begins "Negative prompt:" starts the negative
        prompt, and a text copied from AUTOMATIC1111 is understood whole. Options
        on the line win over values in the body.

    Raises
    ------
    ParameterError
        An option is unknown or a value breaks its rule.
    """
    parser = _parser(task)
    known, rest = parser.parse_known_args(_words(line))
    options = [word for word in rest if word.startswith("-")]
    if options:
        flags = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
        raise ParameterError(f"{options[0]!r} is not an option of %%{task}. {did_you_mean(options[0], flags)}")
    parsed = a1111.parse(body.strip("\n"))
    values: dict[str, Any] = dict(parsed.values)
    values.update({name: _typed(name, text) for name, text in vars(known).items() if name in PARAMS and text is not None})
    values["image"] = _picture_word(task, rest)
    if not str(values.get("prompt", "")).strip():
        raise ParameterError("`prompt` must be the body of the cell, got nothing. Write it on the line below the magic.")
    if task == "txt2img":
        values = {name: value for name, value in values.items() if name in fields_of(task) or name == "prompt"}
    if known.out is not None and not known.out.isidentifier():
        raise ParameterError(breaks_rule("--out", "the name of a variable", known.out, "For a file, use --save."))
    return Cell({name: value for name, value in values.items() if value is not None}, known.out, known.save, parsed.left_out)


def _picture_word(task: str, words: list[str]) -> str | None:
    if task == "txt2img":
        if words:
            raise ParameterError(
                f"%%txt2img takes no picture, got {words[0]!r}. Use %%img2img, or --out {words[0]} to name the result."
            )
        return None
    if len(words) != 1:
        got = "none" if not words else f"{len(words)}: {' '.join(words)!r}"
        raise ParameterError(f"`image` must be one picture after %%img2img, got {got}. Give a file or the name of a variable.")
    return words[0]


def help_text(task: str) -> str:
    """Compose a magic's help from the declarations."""
    picture = " PICTURE" if task == "img2img" else ""
    intro = "Redraw a picture after a prompt." if task == "img2img" else "Draw a picture from a prompt."
    lines = [intro, "", f"    %%{task}{picture} [options]", "    the prompt", "    Negative prompt: what to keep away from", ""]
    if task == "img2img":
        lines += ["PICTURE is a file, or the name of a variable that holds a picture or a result.", ""]
    lines.append("Options (a value not given is the preset's default):")
    for name, param in fields_of(task).items():
        names = f"{param.short}, {flag(name)}" if param.short else flag(name)
        lines.append(f"  {names:<28} {param.help}; {param.rule}")
    lines.append(f"  {'--out':<28} variable that receives the result")
    lines.append(f"  {'--save':<28} file that receives it: .png, .jpg or .webp, with the recipe inside")
    lines += ["", "Models: " + ", ".join(PRESETS) + "."]
    lines += ["Schedulers: " + ", ".join(SCHEDULERS) + "."]
    return "\n".join(lines)


def completions(task: str, text_before: str) -> list[str] | None:
    """Return what may follow on a magic's line, or None where a picture may stand."""
    words = text_before.split(" ")
    current, previous = words[-1], words[-2] if len(words) > 1 else ""
    choices = {"--model": tuple(PRESETS), "-m": tuple(PRESETS), "--scheduler": SCHEDULERS}
    choices |= {flag(name): param.choices for name, param in fields_of(task).items() if param.choices}
    if previous in choices:
        return [word for word in choices[previous] if word.startswith(current)]
    if current.startswith("-"):
        flags = [flag(name) for name in fields_of(task)] + ["--out", "--save"]
        return [word for word in flags if word.startswith(current)]
    return None
