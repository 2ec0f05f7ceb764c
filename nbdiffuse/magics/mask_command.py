"""The command `%diffuse mask`."""

from __future__ import annotations

import keyword
from typing import Any, Protocol

from ..cells.variables import find_picture
from ..errors import NbdiffuseError, ParameterError, breaks_rule
from ..images.latents import Latents
from ..images.picture import Picture


class Painters(Protocol):
    """What opens a canvas."""

    def paint_mask(self, image: Any, mask: Any = None, name: str = "mask", on_change: Any = None) -> Any: ...


def paint_mask(panels: Painters, names: dict[str, Any], word: str = "", name: str = "mask") -> Any:
    """Open a canvas over a picture; a variable holds what is painted, from the first moment on.

    Parameters
    ----------
    names
        The notebook's variables.
    word
        The picture: a file, or the name of a variable.
    name
        The variable that gets the mask. Where it holds a picture of the same size, painting goes on from that.

    Raises
    ------
    ParameterError, ImageInputError
        There is no such picture, or the name cannot be a variable's.
    """
    if not word:
        raise ParameterError("`%diffuse mask` must be followed by a picture, got nothing. Give a file or a variable.")
    if not name.isidentifier() or keyword.iskeyword(name) or name == word:
        raise ParameterError(breaks_rule("%diffuse mask", "followed by a picture and the name of another variable", name))
    image = _picture(word, names)

    def keep(mask: Picture) -> None:
        names[name] = mask

    return panels.paint_mask(image, _begun(names.get(name), image), name, keep)


def _picture(word: str, names: dict[str, Any]) -> Picture:
    found = find_picture(word, names)
    return found.view if isinstance(found, Latents) else found


def _begun(held: Any, image: Picture) -> Picture | None:
    try:
        picture = Picture.of(held) if held is not None else None
    except NbdiffuseError:
        return None
    return picture if picture is not None and picture.size == image.size else None
