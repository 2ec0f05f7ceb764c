"""The function `sweep`: a recipe or a chain, varied along axes."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import Executor
from typing import Any, overload

from ..errors import ParameterError
from ..recipes.chain import Chain
from ..recipes.recipe import Recipe
from ..store.store import Store
from ..sweeps.chain_sweep import ChainSweep
from ..sweeps.counts import checked_count, seeds_of
from ..sweeps.sweep import Sweep
from .chain_grid import ChainGrid
from .grid import Grid


@overload
def sweep(
    link: Recipe,
    store: Store | None = None,
    /,
    *,
    executor: Executor | str | None = None,
    yes: bool = False,
    num_images_per_prompt: int | None = None,
    **axes: Any,
) -> Grid: ...
@overload
def sweep(
    link: Chain, store: Store | None = None, /, *, executor: Executor | str | None = None, yes: bool = False, **axes: Any
) -> ChainGrid: ...
def sweep(
    link: Recipe | Chain,
    store: Store | None = None,
    /,
    *,
    executor: Executor | str | None = None,
    yes: bool = False,
    num_images_per_prompt: int | None = None,
    **axes: Any,
) -> Grid | ChainGrid:
    """Vary a recipe or a chain along axes; nothing runs before it is asked for.

    Parameters
    ----------
    link
        The base. An open seed is drawn once for all cells; after an interrupt the
        same call draws the same one, so that it goes on where it stopped.
    store
        Where finished images are looked for and kept; `Store()` when not given.
    executor
        Where a recipe's cells run: any `concurrent.futures.Executor`, such as Dask's
        `Client.get_executor()` or `Devices`; or a word, "dask" for worker processes on this
        machine, "devices" for its GPUs; in this process's session when not given.
    yes
        Whether more than 1000 cells are meant.
    num_images_per_prompt
        Pictures of each cell, whose seeds go up by one from the recipe's: each is what its seed makes by
        itself, and an axis `seed` has them.
    **axes
        For each field an iterable of values, or their text such as "0.2:1:0.2"; of a
        chain, for a step's field, given as `**{"2.strength": [0.4, 0.8]}`.

    Returns
    -------
    Grid or ChainGrid
        Iterate over it, or call `run`.

    Raises
    ------
    ParameterError, ImageInputError
        An axis, a cell or the executor breaks a rule.
    """
    kept = store or Store()
    if isinstance(link, Chain):
        if executor is not None:
            raise ParameterError("`executor` must be left out for a chain: its steps wait for one another.")
        if num_images_per_prompt is not None:
            raise ParameterError("`num_images_per_prompt` must be left out for a chain. Vary `1.seed` in its place.")
        return ChainGrid(ChainSweep.of(link, axes), store=kept)
    count = None if num_images_per_prompt is None else checked_count(num_images_per_prompt, "seed" in axes)
    value = Sweep.of(link, yes, **axes)
    unfinished = None
    if link.seed is None and "seed" not in axes:
        counted = {} if count is None else {"num_images_per_prompt": count}
        open_text = json.dumps({**json.loads(value.to_json()), "base": link.to_dict(), **counted}, sort_keys=True)
        unfinished = hashlib.sha256(open_text.encode()).hexdigest()
        drawn = kept.recall(unfinished) or ""
        if drawn.isdecimal() and int(drawn) < 2**32:
            value = Sweep(value.base.replace(seed=int(drawn)), value.axes, yes)
    if count is not None:
        value = Sweep(value.base, (*value.axes, seeds_of(value.base.seed or 0, count)), yes)
    grid = Grid(value, store=kept, executor=executor)
    grid._unfinished = unfinished
    return grid
