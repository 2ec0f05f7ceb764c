"""A chain's cell as values: the line that all steps share, and each step as a cell of its own."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ParameterError, breaks_rule
from ..prompts.alternatives import escaped
from .flags import flag, parser_of, unknown_option, words_of
from .options import Cell, parse_cell
from .variables import file_typed


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


def parse_chain(line: str, body: str, variables: Mapping[str, Any] | None = None) -> ChainCell:
    """Read a cell of `%%chain`.

    Parameters
    ----------
    line
        Perhaps a picture to begin with, then options that every step gets, `--out`, `--save`, `--panel`.
    body
        For each step a line `[model options]` and below it the prompt; a step
        without a prompt has the one of the step before. A step's own options win over
        those of the line.
    variables
        As for `parse_cell`.

    Raises
    ------
    ParameterError
        A step has an unknown option, or a value breaks its rule.
    """
    parser = parser_of("img2img", words_of(line))
    parser.add_argument("--panel", action="store_true")
    known, rest = parser.parse_known_args(words_of(line))
    options = [word for word in rest if word.startswith("-")]
    if options:
        raise _not_shared(options[0], parser.names)
    if len(rest) > 1:
        raise ParameterError(breaks_rule("%%chain", "followed by at most one picture", " ".join(rest)))
    heads = list(_STEP.finditer(body))
    if not heads or body[: heads[0].start()].strip():
        raise ParameterError("`%%chain` must have a line such as `[sd15 --strength 0.5]` before each prompt. Begin with one.")
    steps: list[dict[str, Any]] = []
    axes: dict[str, tuple[Any, ...]] = {}
    notices: list[str] = []
    for number, head in enumerate(heads):
        end = heads[number + 1].start() if number + 1 < len(heads) else len(body)
        text = (head[2] + "\n" + body[head.end() : end]).strip()
        task = "img2img" if number or rest else "txt2img"
        try:
            step = _step(task, head[1], known.fields, text or _prompt_before(steps), rest, variables)
        except ParameterError as error:
            raise ParameterError(f"Step {number + 1}: {error}") from None
        values = step.values if number == 0 else {name: value for name, value in step.values.items() if name != "image"}
        steps.append(values)
        axes |= {f"{number + 1}.{name}": several for name, several in step.axes.items()}
        notices += [f"Step {number + 1}: {notice}" for notice in step.notices]
    return ChainCell(tuple(steps), known.out, file_typed(known.save, variables), tuple(notices), axes, known.panel)


def _step(
    task: str, head: str, shared: dict[str, str], text: str, pictures: list[str], variables: Mapping[str, Any] | None
) -> Cell:
    words = words_of(head)
    model = ["--model", words.pop(0)] if words and not words[0].startswith("-") else []
    own, rest = parser_of(task, words).parse_known_args([*model, *words])
    given = [f"{flag(name)}={value}" for name, value in {**shared, **own.fields}.items()]
    start = [pictures[0] if pictures else "step"] if task == "img2img" else []
    if own.out or own.save or "--panel" in rest:
        raise ParameterError("`--out`, `--save` and `--panel` must stand on the first line: they are the whole chain's.")
    step = parse_cell(task, shlex.join([*start, *given, *rest]), text, variables, magic="%%chain")
    if step.num_images_per_prompt is not None:
        raise ParameterError("`--num-images-per-prompt` must be left out of a chain: write `--seed 1..4` for several.")
    if step.executor or step.measure or step.yes:
        raise ParameterError("`--executor`, `--measure` and `--yes` must be left out: %%chain does not take them.")
    return step


def _prompt_before(steps: list[dict[str, Any]]) -> str:
    """Return the prompt of the last step as it must be typed to be itself."""
    if steps and "prompt" not in steps[-1]:
        raise ParameterError("`prompt` must be written here: the step before has several. Write one below the step's line.")
    return escaped(steps[-1]["prompt"]) if steps else ""


def _not_shared(option: str, names: list[str]) -> ParameterError:
    if option.split("=")[0] in ("--executor", "--measure", "--yes"):
        return ParameterError("`--executor`, `--measure` and `--yes` must be left out: %%chain does not take them.")
    return unknown_option(option, "%%chain", names)


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
