"""The command `%diffuse mask`."""

from __future__ import annotations

import keyword
from typing import Any, Protocol

from ..cells.variables import find_picture
from ..errors import NbdiffuseError, ParameterError, breaks_rule
from ..images.latents import Latents
from ..images.mask_selection import is_selection
from ..images.picture import Picture


class Painters(Protocol):
    """What opens a canvas."""

    def paint_mask(self, image: Any, mask: Any = None, name: str = "mask", on_change: Any = None) -> Any: ...


def paint_mask(panels: Painters, names: dict[str, Any], word: str = "", *more: str) -> Any:
    """Open a canvas over a picture; a variable holds what is painted, from the first moment on.

    Parameters
    ----------
    names
        The notebook's variables.
    word
        The picture: a file, or the name of a variable.
    more
        A selection such as "auto:subject", which painting begins with, and the variable that gets the mask, "mask" when not
        given. Without a selection painting goes on from a picture of the same size that the variable holds.

    Raises
    ------
    ParameterError, ImageInputError, CheckpointError
        There is no such picture, the name cannot be a variable's, or nothing can be selected.
    """
    if not word:
        raise ParameterError("`%diffuse mask` must be followed by a picture, got nothing. Give a file or a variable.")
    selections, others = ([one for one in more if is_selection(one) is chosen] for chosen in (True, False))
    if len(selections) > 1 or len(others) > 1:
        raise ParameterError(breaks_rule("%diffuse mask", "followed by a picture, one selection and one name", " ".join(more)))
    name = others[0] if others else "mask"
    if not name.isidentifier() or keyword.iskeyword(name) or name == word:
        raise ParameterError(breaks_rule("%diffuse mask", "followed by a picture and the name of another variable", name))
    image = _picture(word, names)

    def keep(mask: Picture) -> None:
        names[name] = mask

    return panels.paint_mask(image, selections[0] if selections else _begun(names.get(name), image), name, keep)


def _picture(word: str, names: dict[str, Any]) -> Picture:
    found = find_picture(word, names)
    return found.view if isinstance(found, Latents) else found


def _begun(held: Any, image: Picture) -> Picture | None:
    try:
        picture = Picture.of(held) if held is not None else None
    except NbdiffuseError:
        return None
    return picture if picture is not None and picture.size == image.size else None
