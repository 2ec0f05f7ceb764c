"""A magic's line and body as values: every option derives from the recipe's declarations."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from . import a1111
from .axes import alternatives, values_of
from .errors import ParameterError, breaks_rule, did_you_mean
from .metrics import METRICS
from .preset import SCHEDULERS
from .presets import PRESETS
from .recipe import PARAMS, Param

CELL_OPTIONS = {
    "out": "variable that receives the result",
    "save": "file that receives it (.png, .jpg, .webp), recipe inside; a folder for a grid",
    "executor": "variable that holds a concurrent.futures.Executor, which runs a grid's cells",
    "yes": "run a grid of more than 1000 cells",
    "measure": f"metrics that are shown beside a grid's pictures: {', '.join(METRICS)}",
    "panel": "move the panel to these values, or open one",
}
"""What a cell takes besides the fields of a recipe."""


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
    executor
        Variable that holds what runs the cells of a grid, or None.
    yes
        Whether more cells are meant than usual.
    measure
        Metrics of a grid that are shown beside its pictures.
    panel
        Whether the panel is to follow: its controls move to the recipe.
    """

    values: dict[str, Any]
    axes: dict[str, tuple[Any, ...]]
    out: str | None
    save: str | None
    notices: tuple[str, ...] = ()
    executor: str | None = None
    yes: bool = False
    measure: tuple[str, ...] = ()
    panel: bool = False


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
    for name in ("executor", "measure"):
        parser.add_argument(flag(name))
    for name in ("yes", "panel"):
        parser.add_argument(flag(name), action="store_true")
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
    for option in ("executor", "measure"):
        if getattr(known, option) is not None and not axes:
            raise ParameterError(f"`--{option}` must go with several values of an option, got one of each. Leave it out.")
    measure = () if known.measure is None else tuple(word.strip() for word in known.measure.split(","))
    return Cell(single, axes, known.out, known.save, parsed.left_out, known.executor, known.yes, measure, known.panel)


@dataclass(frozen=True)
class ChainCell:
    """What a chain's cell asks for.

    Parameters
    ----------
    steps
        Recipe fields of each step; the first one's `image` is still the word that was typed.
    out, save, notices
        As for `Cell`.
    axes
        Values by step and field, such as "2.strength", where a step has several.
    panel
        Whether the chain's panel is to follow.
    """

    steps: tuple[dict[str, Any], ...]
    out: str | None
    save: str | None
    notices: tuple[str, ...] = ()
    axes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    panel: bool = False


_STEP = re.compile(r"^\[([^\]\n]*)\][ \t]*(.*)$", re.MULTILINE)


def parse_chain(line: str, body: str) -> ChainCell:
    """Read a cell of `%%chain`.

    Parameters
    ----------
    line
        Perhaps a picture to begin with, then options that every step gets, `--out`, `--save`, `--panel`.
    body
        For each step a line `[model options]` and below it the prompt; a step
        without a prompt has the one of the step before.

    Raises
    ------
    ParameterError
        A step has an unknown option, or a value breaks its rule.
    """
    parser = _parser("img2img")
    parser.add_argument("--panel", action="store_true")
    known, rest = parser.parse_known_args(_words(line))
    pictures = [word for word in rest if not word.startswith("-")]
    if len(pictures) > 1:
        raise ParameterError(breaks_rule("%%chain", "followed by at most one picture", " ".join(pictures)))
    heads = list(_STEP.finditer(body))
    if not heads or body[: heads[0].start()].strip():
        raise ParameterError("`%%chain` must have a line such as `[sd15 --strength 0.5]` before each prompt. Begin with one.")
    shared = [word for word in _without(_words(line), pictures, ("--out", "--save")) if word != "--panel"]
    steps: list[dict[str, Any]] = []
    axes: dict[str, tuple[Any, ...]] = {}
    notices: list[str] = []
    for number, head in enumerate(heads):
        end = heads[number + 1].start() if number + 1 < len(heads) else len(body)
        text = (head[2] + "\n" + body[head.end() : end]).strip()
        task = "img2img" if number or pictures else "txt2img"
        try:
            step = _step(task, head[1], shared, text or (steps[-1]["prompt"] if steps else ""), pictures)
        except ParameterError as error:
            raise ParameterError(f"Step {number + 1}: {error}") from None
        values = step.values if number == 0 else {name: value for name, value in step.values.items() if name != "image"}
        steps.append(values)
        axes |= {f"{number + 1}.{name}": several for name, several in step.axes.items()}
        notices += [f"Step {number + 1}: {notice}" for notice in step.notices]
    return ChainCell(tuple(steps), known.out, known.save, tuple(notices), axes, known.panel)


LOOP_OPTIONS = {
    "passes": "how often the picture is redrawn; 4",
    "final_strength": "strength of the last pass; the first one's",
    "curve": "how the strength goes there: linear, aggressive or lazy",
    "color_correction": "lab holds the colours of the first picture; none",
}
"""What `%%loopback` takes besides the options of `%%img2img`."""


def parse_loopback(line: str, body: str) -> tuple[Cell, dict[str, Any]]:
    """Read a cell of `%%loopback`: what `%%img2img` would read, and the loop's own values.

    Raises
    ------
    ParameterError
        An option is unknown or has several values, or a value is no number.
    """
    parser = _Parser(prog="%%loopback", add_help=False, allow_abbrev=False, usage=argparse.SUPPRESS)
    for name in LOOP_OPTIONS:
        parser.add_argument(flag(name))
    known, rest = parser.parse_known_args(_words(line))
    cell = parse_cell("img2img", shlex.join(rest), body)
    if cell.axes:
        raise ParameterError(f"`{next(iter(cell.axes))}` must have one value in a loopback, got several.")
    given = {name: value for name, value in vars(known).items() if value is not None}
    for name, kind in (("passes", int), ("final_strength", float)):
        if name in given:
            try:
                given[name] = kind(given[name])
            except ValueError:
                noun = "a whole number" if kind is int else "a number"
                raise ParameterError(breaks_rule(flag(name), noun, given[name])) from None
    return cell, given


def _step(task: str, head: str, shared: list[str], text: str, pictures: list[str]) -> Cell:
    words = _words(head)
    model = ["--model", words.pop(0)] if words and not words[0].startswith("-") else []
    start = [pictures[0] if pictures else "step"] if task == "img2img" else []
    step = parse_cell(task, shlex.join([*start, *shared, *model, *words]), text)
    if step.out or step.save or step.panel:
        raise ParameterError("`--out`, `--save` and `--panel` must stand on the first line: they are the whole chain's.")
    if step.executor or step.measure or step.yes:
        raise ParameterError("`--executor`, `--measure` and `--yes` must be left out: %%chain does not take them.")
    return step


def _without(words: list[str], pictures: list[str], options: tuple[str, ...]) -> list[str]:
    """Take pictures, and options with their values, out of a line's words."""
    kept: list[str] = []
    waiting = iter(words)
    for word in waiting:
        if word in options:
            next(waiting, None)
        elif word not in pictures and not word.startswith(tuple(f"{option}=" for option in options)):
            kept.append(word)
    return kept


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


LOOP_HELP = """Redraw a picture again and again from its own result.

    %%loopback PICTURE [options of %%img2img]
    the prompt

""" + "\n".join(f"  {flag(name):<28} {text}" for name, text in LOOP_OPTIONS.items())

CHAIN_HELP = """Redraw what the step before made, step by step.

    %%chain [PICTURE] [options for every step] [--out NAME] [--save FILE] [--panel]
    [sd15 --strength 0.7]
    the prompt of the first step
    [pixel-art --strength 0.4]
    the prompt of the second step, pixelartstyle

Without a PICTURE the first step draws from its prompt. A step without a prompt has
the one of the step before. Latents are handed on as they are where both steps have
the same VAE, and are decoded and encoded where they have not; the strip says which.
The options are those of %%img2img; several values in a step make a grid of chains."""


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
    lines += [f"  {flag(name):<28} {text}" for name, text in CELL_OPTIONS.items()]
    lines += ["", "Models: " + ", ".join(PRESETS) + "."]
    lines += ["Schedulers: " + ", ".join(SCHEDULERS) + "."]
    return "\n".join(lines)


def completions(task: str, text_before: str) -> list[str] | None:
    """Return what may follow on a magic's line, or None where a picture may stand."""
    words = text_before.split(" ")
    current, previous = words[-1], words[-2] if len(words) > 1 else ""
    choices = {"--model": tuple(PRESETS), "-m": tuple(PRESETS), "--scheduler": SCHEDULERS}
    choices["--measure"] = tuple(METRICS)
    choices |= {flag(name): param.choices for name, param in fields_of(task).items() if param.choices}
    if previous in choices:
        return [word for word in choices[previous] if word.startswith(current)]
    if current.startswith("-"):
        flags = [flag(name) for name in (*fields_of(task), *CELL_OPTIONS)]
        return [word for word in flags if word.startswith(current)]
    return None
