"""Panels: sliders in the notebook, for the same recipes and the same session as its cells."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from IPython import get_ipython

from ..cells.variables import find_picture
from ..errors import ParameterError
from ..images.mask_selection import is_selection
from ..images.picture import Picture
from ..recipes.chain import Chain
from ..recipes.recipe import Recipe
from ..results import Result
from ..runs.chain_run import ChainRun
from ..sessions.session import get_session
from .chain_panel import ChainPanel
from .mask_painter import MaskPainter
from .recipe_panel import Panel
from .runtime.base_panel import BasePanel

__all__ = ["ChainPanel", "MaskPainter", "Panel", "follow", "paint_mask", "panel"]

_newest: dict[type[BasePanel], weakref.ReferenceType[BasePanel]] = {}


def panel(image: Any = None, /, **fields: Any) -> Panel | ChainPanel:
    """Open sliders for a recipe, or for a chain.

    Parameters
    ----------
    image
        Initial picture, as `Picture.of` takes it, or the name of a variable that
        holds one; or a whole `Recipe`, a `Result`, a `Chain`, or a chain's run.
    **fields
        Further fields of the recipe, under diffusers' names; none for a chain.

    Returns
    -------
    Panel or ChainPanel
        Shown by being the last value of a cell; its `recipe` or `chain` is what the controls ask for.

    Raises
    ------
    ParameterError, ImageInputError
        A field breaks its rule, or the picture cannot be taken in.
    """
    shell = get_ipython()
    names: dict[str, Any] = shell.user_ns if shell is not None else {}
    held = names.get(image) if isinstance(image, str) else None
    if isinstance(held, Chain):
        image = held
    made = _for_chain(image, names, fields) if isinstance(image, (Chain, ChainRun)) else _for_recipe(image, names, fields)
    if shell is not None:
        _offer_names_after_cells(shell, made)
    _newest[type(made)] = weakref.ref(made)
    return made


def paint_mask(
    image: Any, mask: Any = None, name: str = "mask", on_change: Callable[[Picture], None] | None = None
) -> MaskPainter:
    """Open a canvas over a picture, on which the mask is painted that inpainting redraws.

    Parameters
    ----------
    image
        The picture, as `Picture.of` takes it.
    mask
        What is painted at first, of any kind that `Recipe` takes as a mask, "auto:subject" and "text:sky" among
        them; nothing when None.
    name
        What the mask is called in the cell that "Insert cell" inserts.
    on_change
        Called with the mask, a `Picture`, after everything that was painted.

    Returns
    -------
    MaskPainter
        Shown by being the last value of a cell; its `mask` is what is painted.

    Raises
    ------
    ImageInputError
        A picture cannot be taken in, or is larger than a browser can have painted over.
    ParameterError, CheckpointError
        Nothing is selected, or the model that selects cannot be loaded.
    """
    picture = Picture.of(image)
    if isinstance(mask, str) and is_selection(mask):
        mask = get_session().select_mask(picture, mask)
    return MaskPainter(picture, None if mask is None else Picture.of(mask), name, on_change)


def _for_recipe(image: Any, names: dict[str, Any], fields: dict[str, Any]) -> Panel:
    if isinstance(image, (Recipe, Result)):
        recipe = image if isinstance(image, Recipe) else image.recipe
    else:
        recipe = Recipe(image=find_picture(image, names) if isinstance(image, str) else image)
    made = Panel(recipe.replace(**fields), names=names)
    if isinstance(image, Result):
        made.show(made.recipe, image)
    return made


def _for_chain(link: Chain | ChainRun, names: dict[str, Any], fields: dict[str, Any]) -> ChainPanel:
    if fields:
        raise ParameterError(f"`{next(iter(fields))}` must stand in a step of the chain. Use `chain.replace(1, ...)`.")
    chain = link if isinstance(link, Chain) else link.chain
    made = ChainPanel(chain, names=names)
    if isinstance(link, ChainRun):
        made.show(chain, link)
    return made


def follow(link: Recipe | Chain, made: Result | ChainRun | None = None) -> Panel | ChainPanel | None:
    """Move the newest panel of its kind to a recipe or a chain; return a new panel where there is none."""
    kind = ChainPanel if isinstance(link, Chain) else Panel
    known = _newest.get(kind)
    current: Any = known() if known is not None else None
    opened = None
    if current is None:
        current = opened = panel(link)
    current.show(link, made)
    return opened


def _offer_names_after_cells(shell: Any, made: BasePanel) -> None:
    """Let a panel know of new variables for as long as it lives."""
    known = weakref.ref(made)

    def after_cell(*given: Any) -> None:
        alive = known()
        if alive is None:
            shell.events.unregister("post_run_cell", after_cell)
        else:
            alive.offer_names()

    shell.events.register("post_run_cell", after_cell)
