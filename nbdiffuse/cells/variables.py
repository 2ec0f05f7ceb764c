"""Words that stand for a notebook's variables: the name of a picture, or `=name` for a value."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import ParameterError, breaks_rule, nearest
from ..images.latents import Latents
from ..images.masks import stands_for
from ..images.picture import Picture
from ..recipes.recipe import PARAMS, PROMPTS
from ..results import Result
from ..runs.chain_run import ChainRun
from ..runs.loopback import Loopback
from ..sweeps.axes import MAX_VALUES, values_of
from .flags import flag

MADE = (Result, ChainRun, Loopback)
"""What has the picture that is meant as its `image`."""
_NAMED = re.compile(r"=([^\W\d]\w*)")
_TEMPLATE = re.compile(r"\$([^\W\d]\w*)|\$?\{([^\W\d]\w*)\}")
"""How a shell, and IPython's other magics, would be given a variable."""


def named_value(option: str, text: str, variables: Mapping[str, Any] | None) -> Any:
    """Return what `=name` stands for: the value of that variable, as it is. Nothing is evaluated or called.

    Parameters
    ----------
    option
        As it is written, such as "--strength", for errors.
    text
        What was typed; anything but an equals sign and a name is returned as it is.
    variables
        By name; None where there are none, such as when a text is only checked.

    Raises
    ------
    ParameterError
        There is no such variable; or the text is `$name` or `{name}`, which is not how a value is given.
    """
    named = _NAMED.fullmatch(text)
    if named is None:
        template = _TEMPLATE.fullmatch(text)
        if template and not Path(text).exists():
            name = template[1] or template[2]
            written = f"={name}" if option == "image" else f"{option} ={name}"
            raise ParameterError(breaks_rule(option, "a value, or a variable's name after `=`", text, f"Write `{written}`."))
        return text
    name = named[1]
    if variables is None or name not in variables:
        near = None if variables is None else nearest(name, [one for one in variables if not one.startswith("_")])
        way_out = f"Did you mean `={near}`?" if near else "Run the cell that sets it first."
        raise ParameterError(breaks_rule(option, "the name of a variable after `=`", text, way_out))
    return variables[name]


def values_typed(name: str, text: str, variables: Mapping[str, Any] | None) -> tuple[Any, ...]:
    """Read what was typed for a field, see `axes.values_of`; `=name` is a variable's value, and a list several.

    Raises
    ------
    ParameterError, ImageInputError
        There is no such variable, or a value breaks the field's rule.
    """
    option, param = flag(name), PARAMS[name]
    if name in PROMPTS and not _NAMED.fullmatch(text):
        return values_of(name, text)
    held = named_value(option, text, variables)
    if held is text:
        if variables is not None and param.kind in (int, float) and text in variables:
            raise ParameterError(breaks_rule(name, param.rule, text, f"For the variable's value write `{option} ={text}`."))
        if param.kind in (int, float) and text.startswith("="):
            raise ParameterError(breaks_rule(name, param.rule, text, "After `=` stands the name of one variable, nothing else."))
        return values_of(name, text)
    found = _listed(held, param.kind is Picture)
    if len(found) > MAX_VALUES:
        raise ParameterError(breaks_rule(name, f"at most {MAX_VALUES} values", text, "Take some out."))
    return tuple(_picture(one, text[1:]) if param.kind is Picture else param.check(name, one) for one in found)


def template_notice(name: str, text: str, variables: Mapping[str, Any] | None) -> list[str]:
    """Return a line for a prompt that is nothing but `$name` or `{name}`: prompts are texts, so it is drawn as it stands."""
    template = _TEMPLATE.fullmatch(text) if name in PROMPTS else None
    meant = template and (template[1] or template[2])
    if not meant or variables is None or meant not in variables:
        return []
    instead = f"nbdiffuse.run(nbdiffuse.Recipe(prompt={meant}))" if name == "prompt" else f"{flag(name)} ={meant}"
    return [f"`{name}` is the text {text!r} itself. For the value of the variable write `{instead}`."]


def pictures_typed(words: list[str], variables: Mapping[str, Any] | None) -> tuple[Any, ...]:
    """Return the pictures that `=name` stands for, and other words as they are."""
    found: list[Any] = []
    for word in words:
        held = named_value("image", word, variables)
        found += [word] if held is word else [_picture(one, word[1:]) for one in _listed(held, True)]
    return tuple(found)


def _listed(held: Any, pictures: bool) -> list[Any]:
    """Return a variable's values: several of a list, none of None, which leaves a field open."""
    if held is None:
        return []
    if isinstance(held, np.ndarray) and held.ndim < 2 and not pictures:
        return list(np.atleast_1d(held).tolist())
    return list(held) if isinstance(held, (list, tuple, range)) else [held]


def _picture(held: Any, name: str) -> Picture | Latents:
    if isinstance(held, MADE):
        held = held.image
    return held if isinstance(held, Latents) else Picture.of(held, label=name)


def find_picture(word: str | Picture | Latents, names: Mapping[str, Any]) -> Picture | Latents:
    """Return the picture that a word stands for.

    Parameters
    ----------
    word
        The name of a variable that holds a picture or a result; else a file. A picture is itself.
    names
        The variables, by name.

    Raises
    ------
    ImageInputError
        There is no picture, or not one that can be taken in whole.
    """
    if isinstance(word, (Picture, Latents)):
        return word
    held = names.get(word) if word.isidentifier() else None
    if isinstance(held, MADE):
        return Picture.of(held.image, label=word)
    return Picture.of(word) if held is None else Picture.of(held, label=word)


def names_of_pictures(names: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the variables that hold a picture or a result, the newest first; names that begin with "_" are left out."""
    found = [name for name, held in list(names.items()) if not name.startswith("_") and _is_picture(held)]
    return tuple(reversed(found))


def name_of(picture: Picture, names: Mapping[str, Any]) -> str | None:
    """Return a variable that holds a picture with these very pixels, or None."""
    for name in names_of_pictures(names):
        held = names.get(name)
        image = held.image if isinstance(held, MADE) else held
        # Hashing pixels costs milliseconds: only where the size is right.
        if isinstance(image, Image.Image) and image.size != picture.size:
            continue
        if stands_for(find_picture(name, names), picture):
            return name
    return None


def expression(word: str, names: Mapping[str, Any]) -> str:
    """Return Python that gives `Recipe` the picture that a word stands for."""
    held = names.get(word) if word.isidentifier() else None
    if held is None:
        return repr(word)
    return f"{word}.image" if isinstance(held, MADE) else word


def _is_picture(held: Any) -> bool:
    if isinstance(held, np.ndarray):
        return held.ndim == 3 and held.shape[2] in (3, 4) and min(held.shape[:2]) >= 16
    if isinstance(held, ChainRun):
        return bool(held.results)
    return isinstance(held, (Image.Image, Picture, *MADE))


def file_typed(text: str | None, variables: Mapping[str, Any] | None) -> str | None:
    """Return the file that `--save` names; `=name` is the path that a variable holds.

    Raises
    ------
    ParameterError
        There is no such variable, or it holds no path.
    """
    held = None if text is None else named_value("--save", text, variables)
    if held is None or isinstance(held, str):
        return held
    if not isinstance(held, os.PathLike):
        raise ParameterError(breaks_rule("--save", "a path, or the name of a variable that holds one", held))
    return str(os.fspath(held))
