"""Runs of chains: each step redraws what the one before made, in latents where both share a VAE."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from PIL import Image

from ..errors import Interrupted, ParameterError
from ..images.contact_sheets import COLUMNS, Cell, contact_sheet, png_bytes
from ..images.latents import Latents
from ..images.picture import Picture
from ..recipes.chain import Chain
from ..recipes.completion import resolve, resolve_chain, weights_word
from ..recipes.preset import way
from ..recipes.presets import preset_of
from ..recipes.recipe import Recipe
from ..results import Result, given_cells, result_label
from ..sessions.session import Session, get_session
from ..store import archive
from ..store.store import Store
from ..sweeps.sweep import SweepCell
from .ledger import Failed, Ledger

if TYPE_CHECKING:
    from ..engine.progress import Progress

LATENTS = "latents"
"""How an arrow is called that decodes and encodes nothing."""


class ChainRun:
    """A chain and what came of its steps so far; `run` goes on where it stopped.

    Parameters
    ----------
    chain
        Completed at once, so that every rule is checked before the first step runs.
    session
        Runs the steps; this process's session when not given.
    store
        Where finished pictures are looked for and kept; None keeps them in memory only.
    fresh
        Whether every step is run, also one whose result this session remembers.

    Raises
    ------
    ParameterError
        A step breaks a rule.
    """

    def __init__(self, chain: Chain, session: Session | None = None, store: Store | None = None, *, fresh: bool = False) -> None:
        self.chain = resolve_chain(chain)
        self.results: list[Result] = []
        self.arrows: list[str] = []
        self._session = session or get_session()
        self._store = store
        self._fresh = fresh
        self._ledger: Ledger | None = None

    def run(self, while_waiting: Callable[[], None] = lambda: None) -> ChainRun:
        """Run the steps that are missing and return this run.

        Parameters
        ----------
        while_waiting
            Called on this thread about every 50 ms.

        Raises
        ------
        Interrupted
            Finished steps stay; run it again for the rest.
        RunError, CheckpointError, ...
            A step failed; the steps before it stay.
        """
        stopped = False
        while len(self.results) < len(self.chain) and not stopped:
            number = len(self.results)
            try:
                recipe, arrow = self._handed_over(number)
                result = self._settle(recipe, number, while_waiting)
            except (Interrupted, KeyboardInterrupt):
                stopped = True
                continue
            self.arrows += [arrow] if arrow else []
            up_to_here = Chain(self.chain.steps[: number + 1])
            self.results.append(dataclasses.replace(result, chain=up_to_here if number else None))
        if stopped:
            # Raised outside the `except`, so that no traceback keeps the stopped run's frames.
            raise Interrupted(f"Stopped in step {len(self.results) + 1} of {len(self.chain)}. Run it again for the rest.")
        return self

    def _handed_over(self, number: int) -> tuple[Recipe, str]:
        """Return a step's recipe with its initial picture or latents, and what the arrow before it is."""
        step = self.chain[number]
        if number == 0:
            return step, ""
        before = self.results[number - 1]
        reason = why_decoded(step, before.image.size, before.latents is not None, lambda: self._share(step, before))
        if not reason and before.latents is not None:
            return step.replace(image=before.latents), LATENTS
        return step.replace(image=Picture.of(before.image, label=f"step {number}")), f"pixels: {reason}"

    def _share(self, step: Recipe, before: Result) -> bool:
        space = self._session.with_pipelines(lambda pipelines: pipelines.space(weights_word(step)))
        return before.latents is not None and space == before.latents.space

    def _settle(self, recipe: Recipe, number: int, while_waiting: Callable[[], None]) -> Result:
        complete = resolve(recipe)
        recalled = None if self._fresh else self._session.recall(complete)
        if recalled is not None:
            return recalled
        # What a file or the store gives has no latents, so it serves only where none are needed.
        last = number + 1 == len(self.chain)
        serves = last or not preset_of(self.chain[number + 1].model).takes_latents
        serves = serves and not isinstance(complete.image, Latents)
        ledger = Ledger(self._session, self._store if serves else None)
        self._ledger = ledger
        cell = SweepCell(number, (), complete)
        try:
            ledger.settle([(cell,)], while_waiting)
        finally:
            self._ledger = None
        outcome = ledger.outcomes[cell.picture_key]
        if isinstance(outcome, Failed):
            raise type(outcome.error)(f"Step {number + 1}: {outcome.error}")
        return outcome

    @property
    def progress(self) -> Progress | None:
        """Where the step under way is, or None."""
        running = self._ledger.running if self._ledger else {}
        return next(iter(running.values()), None)

    @property
    def under_way(self) -> str:
        """Name the step under way, for people."""
        number = min(len(self.results) + 1, len(self.chain))
        return f"{number}  {self.chain[number - 1].model}"

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __getitem__(self, index: int) -> Result:
        return self.results[index]

    @property
    def image(self) -> Image.Image:
        """What the last finished step made, RGB."""
        if not self.results:
            raise ParameterError("`image` needs a finished step, and there is none. Run the chain.")
        return self.results[-1].image

    @property
    def notices(self) -> tuple[str, ...]:
        """Lines a person should read, each with its step."""
        return tuple(f"Step {number}: {line}" for number, result in enumerate(self.results, start=1) for line in result.notices)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the last picture, with the last step's recipe inside, and every step beside it in a folder of that name.

        Raises
        ------
        FileError
            The suffix is not .png, .jpg or .webp, or a file cannot be written.
        """
        target = Path(path)
        saved = self.results[-1].save(target)
        folder = target.with_suffix("")
        folder.mkdir(parents=True, exist_ok=True)
        for number, result in enumerate(self.results, start=1):
            result.save(folder / f"{number}{target.suffix}")
        return saved

    def cells(self) -> list[Cell]:
        """Return the strip: what the chain started from, and every step's picture, labelled with its arrow."""
        cells = given_cells(self.chain[0])
        for number, result in enumerate(self.results, start=1):
            arrow = f"\nfrom {self.arrows[number - 2]}" if number > 1 else ""
            cells.append(Cell(result.image, f"{number}  {result_label(result.recipe)}{arrow}"))
        return cells

    def __repr__(self) -> str:
        return f"chain: {len(self.results)} of {len(self.chain)} steps"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        cells = self.cells()
        if not cells:
            return {"text/plain": repr(self)}
        return {"image/png": png_bytes(contact_sheet(cells, columns=min(len(cells), COLUMNS))), "text/plain": repr(self)}


def why_decoded(step: Recipe, size: tuple[int, int], kept: bool, share: Callable[[], bool]) -> str:
    """Say why latents cannot be handed to a step of a chain.

    Parameters
    ----------
    step
        With its checkpoint named.
    size
        Width and height of what the step before made, in pixels.
    kept
        Whether that step has its latents.
    share
        Whether both steps have the same VAE; asked last, since it may load one.

    Returns
    -------
    str
        Empty where they can.
    """
    preset = preset_of(step.model)
    if not preset.takes_latents:
        return f"{preset.name} takes pictures"
    if way(step.replace(image=Picture.of(Image.new("RGB", (1, 1))))) != "img2img":
        return "a mask or a ControlNet needs pictures"
    if not kept:
        return "the step before kept no latents"
    for side, made in ((step.width, size[0]), (step.height, size[1])):
        if side not in (None, made * preset.scale):
            return "another size was asked for"
    return "" if share() else "another VAE"


@overload
def run(link: Recipe) -> Result: ...
@overload
def run(link: Chain) -> ChainRun: ...
def run(link: Recipe | Chain) -> Result | ChainRun:
    """Run a recipe or a chain in this process's session and wait for what comes of it.

    The last picture is kept in the store, where it can be written, so that later kernels know of it.

    Raises
    ------
    ParameterError, ImageInputError
        A recipe breaks a rule; nothing was run.
    Interrupted
        The run was stopped.
    RunError, CheckpointError
        A pipeline failed, or its checkpoint cannot be loaded.
    """
    if isinstance(link, Chain):
        made = ChainRun(link).run()
        archive.keep(made.results[-1])
        return made
    result = get_session().run(link)
    archive.keep(result)
    return result
