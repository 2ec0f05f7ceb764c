"""The flags of a magic's line: how a field is written there, and what takes the line apart."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from ..errors import ParameterError, nearest
from ..families.aliases import advice, field_meant
from ..families.parameters import Param
from ..images.metrics import METRICS
from ..recipes.fields import OF_PARTS, PARTS, SINGLE, first_name, names_of, numbered
from ..recipes.recipe import PARAMS, shown_name
from ..recipes.taken_fields import fields_for

NOT_OPTIONS = ("prompt", "image")
"""Fields that stand elsewhere in a cell."""

MASKED = ("--mask-image", "--mask_image", "--extend")
"""Options that say which part is redrawn."""

JOINED = {"measure": ","}
"""Options that may be given more than once, and what stands between their values then."""

CELL_OPTIONS = {
    "out": "variable that receives the result",
    "save": "file that receives it (.png, .jpg, .webp), recipe inside; a folder for a grid or many pictures; .mp4 for a film",
    "num_images_per_prompt": "pictures of each prompt, in [1, 1000]: seeds from --seed on, as in AUTOMATIC1111's batch; 1",
    "table": "CSV or JSON Lines file, or =name of a pandas table: a result for each row, fields in its columns",
    "prompts": "text file with a prompt in each line, or =name of a list: each picture is made with each; {prompt} is its place",
    "wildcards": "folder of text files: __animals__ in a prompt becomes a line of animals.txt, drawn by the seed",
    "captioner": "model of transformers that says what a picture shows, where the prompt has {caption}",
    "frames": "of a film or an animation, as START:STOP:STEP from 0, or all; a film's frames are all taken without it",
    "carry": "share of the result before in each frame's initial picture, in [0, 1): what is drawn stays in its place",
    "seed_every": "frames after which the seed goes up by one; the same noise in each frame without it",
    "noise_walk": "frames in which the noise turns smoothly to that of another seed, and as many for the way back",
    "motion_adapter": "directory or hub id of a motion adapter: AnimateDiff redraws a film in one call (Stable Diffusion 1)",
    "rate": "frames a second of a film that is made from pictures; 24",
    "on_error": "for many pictures: continue with the others when one fails, or stop",
    "executor": "runs a grid's cells or a batch's rows: dask, devices, or a variable that holds a concurrent.futures.Executor",
    "yes": "run a grid of more than 1000 cells",
    "measure": f"metrics shown beside a grid's pictures, or of many pictures: {', '.join(METRICS)}",
    "panel": "move the panel to these values, or open one",
}
"""What a cell takes besides the fields of a recipe."""

LOOP_OPTIONS = {
    "passes": "how often the picture is redrawn; 4",
    "final_strength": "strength of the last pass; the first one's",
    "curve": "how the strength goes there: linear, aggressive or lazy",
    "color_correction": "lab holds the colours of the first picture; none",
}
"""What `%%loopback` takes besides the options of `%%img2img`."""


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are this package's own errors, and which takes an option's value once."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(add_help=False, allow_abbrev=False, usage=argparse.SUPPRESS, **settings)
        self.register("action", None, _Once)

    def error(self, message: str) -> NoReturn:
        missing = re.fullmatch(r"argument (\S+): expected one argument", message)
        if missing:
            raise ParameterError(f"`{missing[1].split('/')[0]}` must be followed by a value, got none.")
        raise ParameterError(message[:1].upper() + message[1:] + ".")

    @property
    def names(self) -> list[str]:
        """The names of its options."""
        return [action.dest for action in self._actions]


class _Once(argparse.Action):
    """Take an option's value; a second one is joined to it or refused, by the option's kind."""

    def __call__(self, parser: Any, namespace: Any, value: Any, option_string: str | None = None) -> None:
        before = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, _once(self.dest, before, value))


class _FieldAction(argparse.Action):
    """Collect fields with their texts in `namespace.fields`, in the order in which they were typed."""

    def __call__(self, parser: Any, namespace: Any, value: Any, option_string: str | None = None) -> None:
        typed: dict[str, str] = namespace.fields
        name = _for_newest_part(shown_name(self.dest), typed)
        typed[name] = _once(name, typed.get(name), value)


def _once(name: str, before: str | None, value: Any) -> str:
    """Return an option's value, joined to one that was given before; or refuse the second one."""
    option = flag(first_name(name))
    if not isinstance(value, str):
        # argparse takes `--` out of what it is given.
        raise ParameterError(f"`{option}` must be followed by a value, got '--'.")
    if before is None:
        return value
    joint = JOINED.get(name)
    if joint is not None and not before.startswith("=") and not value.startswith("="):
        return f"{before}{joint}{value}"
    if joint is not None:
        way_out = f"Write all of it behind one `{option}`, with{joint.rstrip()} between."
    elif name in PARAMS and PARAMS[name].kind in (int, float):
        way_out = f"Leave one out; for a grid of several write `{option} {before},{value}`."
    else:
        way_out = "Leave one out."
    raise ParameterError(f"`{option}` must be given once, got {_short(before)} and {_short(value)}. {way_out}")


def _short(value: str) -> str:
    return repr(value if len(value) <= 60 else f"{value[:57]}...")


def _for_newest_part(name: str, typed: Mapping[str, str]) -> str:
    """Return a field's name for the part that its option is about: `--controlnet` begins one, `--control-image` belongs to it."""
    place = OF_PARTS.get(name)
    if place is None or place.part in SINGLE:
        return name
    number = 1
    while any(one in typed for one in names_of(place.part, number + 1)):
        number += 1
    begins = name in (names_of(place.part)[0], PARTS[place.part].REPEATED) and numbered(name, number) in typed
    return numbered(name, number + 1 if begins else number)


def flag(name: str) -> str:
    """Return a field's long option, such as `--guidance-scale`."""
    return "--" + name.replace("_", "-")


def fields_of(task: str, words: Sequence[str] = ()) -> dict[str, Param]:
    """Return the declarations that a task takes as options; an edit has a strength where the words of its line name a mask."""
    masked = any(word.split("=")[0] in MASKED for word in words)
    unwanted = {*NOT_OPTIONS} | ({"strength", "noise"} if task == "txt2img" or (task == "edit" and not masked) else set())
    taken = fields_for(task) if task == "edit" else PARAMS.keys()
    return {name: param for name, param in PARAMS.items() if name in taken and name not in unwanted}


def parser_of(task: str, words: Sequence[str] = ()) -> Parser:
    """Return what reads the fields that a task takes into `fields`, and `--out` and `--save`.

    Parameters
    ----------
    task
        "img2img", "txt2img" or "edit".
    words
        Of the line; a field that is named there by its place, such as `--controlnets.2.scale`, or
        that only a family's call declares, is read as well.
    """
    parser = Parser(prog=f"%%{task}")
    parser.set_defaults(fields={})
    known = fields_of(task, words)
    named = [word[2:].partition("=")[0].replace("-", "_") for word in words if word.startswith("--")]
    unwanted = {*NOT_OPTIONS, *CELL_OPTIONS, *(() if task == "img2img" else PARAMS)}
    others = {name: PARAMS[name] for name in named if name not in known and name not in unwanted and name in PARAMS}
    for name, param in {**known, **others}.items():
        names = [flag(name)] + ([flag(name).replace("-", "_").replace("__", "--", 1)] if "_" in name else [])
        parser.add_argument(*names, *([param.short] if param.short else []), dest=name, action=_FieldAction, **_value_of(param))
    parser.add_argument("--out")
    parser.add_argument("--save")
    return parser


def _value_of(param: Param) -> dict[str, Any]:
    """Say how many words follow an option: a switch may stand alone."""
    return {"nargs": "?", "const": "true"} if param.kind is bool else {}


def unknown_option(word: str, magic: str, names: Iterable[str]) -> ParameterError:
    """Return the error of an option that a magic does not take: what other tools call so has another name here.

    Parameters
    ----------
    word
        As typed, with its dashes.
    magic
        Such as "%%img2img".
    names
        The magic's own options.
    """
    options = {name: flag(name) for name in names}
    listed = f"`{'%%img2img' if magic == '%%chain' else magic}?` lists every option."
    name = word.lstrip("-").split("=")[0].replace("-", "_")
    elsewhere = name if name in PARAMS else field_meant(name, PARAMS)
    if elsewhere is None and nearest(name, options) is None:
        elsewhere = nearest(name, PARAMS)
    of_loops = field_meant(name, LOOP_OPTIONS)
    if elsewhere == "prompt":
        way_out = "The prompt is the body of the cell, on the lines below."
    elif (
        magic == "%%edit"
        and "strength" not in options
        and (elsewhere in ("strength", "noise") or word.split("=")[0] == PARAMS["strength"].short)
    ):
        way_out = f"Editing has no strength. Use `{flag('image_guidance_scale')}`: higher values stay closer to the picture."
    elif elsewhere == "image" and magic != "%%txt2img":
        way_out = f"The initial picture stands right after {magic}: a file, or the name of a variable."
    elif elsewhere and elsewhere in PARAMS and elsewhere not in options and magic == "%%chain":
        way_out = "The first step has no initial picture: write it in the later steps, or a picture right after %%chain."
    elif elsewhere and elsewhere in PARAMS and elsewhere not in options and magic == "%%edit":
        way_out = f"`%%img2img` takes it: `{flag(elsewhere)}`."
    elif elsewhere and elsewhere in PARAMS and elsewhere not in options:
        way_out = f"It needs an initial picture: use `%%img2img PICTURE{'' if elsewhere == 'image' else ' ' + flag(elsewhere)}`."
    elif of_loops and of_loops not in options:
        way_out = f"`%%loopback` takes it: `{flag(of_loops)}`."
    else:
        short = {name: PARAMS[name].short or "" for name in options if name in PARAMS and PARAMS[name].short}
        way_out = advice(word, options, listed, short)
    return ParameterError(f"{word.split('=')[0]!r} is not an option of {magic}. {way_out}")


def named_option(word: str, magic: str, names: Sequence[str]) -> str | None:
    """Return what `steps=30`, written without dashes, should have been; None where it is something else."""
    name, equals, value = word.partition("=")
    if not equals or not name.isidentifier():
        return None
    meant = name if name in names else field_meant(name, names)
    return None if meant is None else f"Options of {magic} are written `{flag(meant)} {shlex.quote(value)}`."


def words_of(line: str) -> list[str]:
    """Split a line into its words as a shell does.

    Raises
    ------
    ParameterError
        A quote is not closed.
    """
    try:
        return shlex.split(line)
    except ValueError as error:
        raise ParameterError(f"The line cannot be read: {str(error).lower()}. Close the quotes.") from None
