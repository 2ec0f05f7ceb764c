"""A magic's line and body as values: every option derives from the recipe's declarations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ParameterError, breaks_rule, did_you_mean
from ..images.metrics import METRICS
from ..metadata import a1111
from ..recipes import prompt_loras
from ..recipes.preset import SCHEDULERS
from ..recipes.presets import PRESETS
from ..sweeps.axes import alternatives, values_of
from .flags import fields_of, flag, parser_of, words_of

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
        prompt, and a text copied from AUTOMATIC1111 is understood whole. A network in
        it that is not here, such as `<lora:name:1>`, is taken out and said. Options on
        the line win over values in the body.

    Raises
    ------
    ParameterError
        An option is unknown or a value breaks its rule.
    """
    words = words_of(line)
    parser = parser_of(task, words)
    for name in ("executor", "measure"):
        parser.add_argument(flag(name))
    for name in ("yes", "panel"):
        parser.add_argument(flag(name), action="store_true")
    known, rest = parser.parse_known_args(words)
    options = [word for word in rest if word.startswith("-")]
    if options:
        flags = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
        raise ParameterError(f"{options[0]!r} is not an option of %%{task}. {did_you_mean(options[0], flags)}")
    parsed = a1111.parse(body.strip("\n"))
    said, taken_out = _without_unknown_networks(parsed.values, known.fields)
    several = {name: _alternatives(name, value) for name, value in said.items()}
    for name, text in known.fields.items():
        several.pop(name, None)  # what is typed later stands further in
        several[name] = values_of(name, text)
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
    notices = (*parsed.left_out, *taken_out)
    return Cell(single, axes, known.out, known.save, notices, known.executor, known.yes, measure, known.panel)


def _without_unknown_networks(values: dict[str, Any], typed: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Take out of the prompts what names a network that is not here; those that are here wait for `resolve`."""
    given = {"lora": values_of("lora", typed["lora"])[0]} if "lora" in typed else {}
    kept, lines = prompt_loras.carried({**values, **given}, move=False)
    return {name: kept[name] for name in values}, lines


def _alternatives(name: str, value: Any) -> tuple[Any, ...]:
    return alternatives(value, name) if isinstance(value, str) and name != "scheduler" else (value,)


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
