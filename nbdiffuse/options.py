"""A magic's line and body as values: every option derives from the recipe's declarations."""

from __future__ import annotations

import argparse
import re
import shlex
from dataclasses import dataclass
from typing import Any, NoReturn

from . import a1111
from .axes import alternatives, values_of
from .errors import ParameterError, breaks_rule, did_you_mean
from .presets import PRESETS, SCHEDULERS
from .recipe import PARAMS, Param


@dataclass(frozen=True)
class Cell:
    """What a cell asks for.

    Parameters
    ----------
    values
        Recipe fields that have one value; `image` is still the word that was typed.
    axes
        Recipe fields that have several, in the order typed, the prompt last.
    out
        Variable that receives the result, or None.
    save
        File that receives it, or for several values the folder, or None.
    notices
        Lines a person should read: what could not be carried over.
    """

    values: dict[str, Any]
    axes: dict[str, tuple[Any, ...]]
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
        The rest of the magic's line: for img2img one or several pictures, then
        options, each with one value or several (see `axes.values_of`).
    body
        The prompt, with `{a|b}` for alternatives; a line that begins "Negative prompt:" starts the negative
        prompt, and a text copied from AUTOMATIC1111 is understood whole. Options
        on the line win over values in the body.

    Raises
    ------
    ParameterError
        An option is unknown or a value breaks its rule.
    """
    parser = _parser(task)
    words = _words(line)
    known, rest = parser.parse_known_args(words)
    options = [word for word in rest if word.startswith("-")]
    if options:
        flags = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
        raise ParameterError(f"{options[0]!r} is not an option of %%{task}. {did_you_mean(options[0], flags)}")
    parsed = a1111.parse(body.strip("\n"))
    several = {name: _alternatives(name, value) for name, value in parsed.values.items()}
    for name in _in_typed_order(vars(known), words, parser):
        several.pop(name, None)  # what is typed later stands further in
        several[name] = values_of(name, getattr(known, name))
    several["prompt"] = several.pop("prompt")
    if task == "txt2img":
        several = {name: values for name, values in several.items() if name in fields_of(task) or name == "prompt"}
    if not all(str(value).strip() for value in several["prompt"]):
        raise ParameterError("`prompt` must be the body of the cell, got nothing. Write it on the line below the magic.")
    if known.out is not None and not known.out.isidentifier():
        raise ParameterError(breaks_rule("--out", "the name of a variable", known.out, "For a file, use --save."))
    several = {**_picture_words(task, rest), **several}
    single = {name: values[0] for name, values in several.items() if len(values) == 1}
    axes = {name: values for name, values in several.items() if len(values) > 1}
    return Cell(single, axes, known.out, known.save, parsed.left_out)


def _alternatives(name: str, value: Any) -> tuple[Any, ...]:
    return alternatives(value, name) if isinstance(value, str) and name != "scheduler" else (value,)


def _in_typed_order(known: dict[str, Any], words: list[str], parser: _Parser) -> list[str]:
    names = {option: action.dest for action in parser._actions for option in action.option_strings}
    typed = [names.get(word.split("=")[0], names.get(word[:2], "")) for word in words if word.startswith("-")]
    return list(dict.fromkeys(name for name in typed if name in PARAMS and known[name] is not None))


def _picture_words(task: str, words: list[str]) -> dict[str, tuple[str, ...]]:
    if task == "txt2img":
        if words:
            raise ParameterError(
                f"%%txt2img takes no picture, got {words[0]!r}. Use %%img2img, or --out {words[0]} to name the result."
            )
        return {}
    if not words:
        raise ParameterError("`image` must stand after %%img2img, got none. Give a file or the name of a variable.")
    return {"image": tuple(words)}


def help_text(task: str) -> str:
    """Compose a magic's help from the declarations."""
    picture = " PICTURE" if task == "img2img" else ""
    intro = "Redraw a picture after a prompt." if task == "img2img" else "Draw a picture from a prompt."
    lines = [intro, "", f"    %%{task}{picture} [options]", "    the prompt", "    Negative prompt: what to keep away from", ""]
    if task == "img2img":
        lines += ["PICTURE is a file, or the name of a variable that holds a picture or a result.", ""]
    lines += ["Several values make a grid: --strength 0.4,0.6,0.8  --guidance-scale 1:10:3  --seed 1..4", ""]
    lines.append("Options (a value not given is the preset's default):")
    for name, param in fields_of(task).items():
        names = f"{param.short}, {flag(name)}" if param.short else flag(name)
        lines.append(f"  {names:<28} {param.help}; {param.rule}")
    lines.append(f"  {'--out':<28} variable that receives the result")
    lines.append(f"  {'--save':<28} file that receives it (.png, .jpg, .webp), recipe inside; a folder for a grid")
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
