"""Runs of chains: each step redraws what the one before made, in latents where both share a VAE."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from PIL import Image

from ..errors import Interrupted, ParameterError
from ..files.paths import path_of
from ..files.targets import made_folder
from ..images.contact_sheets import COLUMNS, Cell, contact_sheet, noted, png_bytes
from ..images.latents import Latents
from ..images.picture import Picture
from ..recipes.chain import Chain
from ..recipes.notices import before_run
from ..recipes.presets import preset_of
from ..recipes.recipe import Recipe
from ..recipes.resolve import checkpoint_text, resolve, resolve_chain
from ..results import Result, given_cells, result_label
from ..sessions.session import Session, get_session
from ..store import index
from ..store.store import Store
from ..sweeps.cell import SweepCell
from .chain_step import ChainStep, advance
from .latent_transfer import LATENTS, why_decoded
from .notices import numbered
from .outcomes import Outcomes

if TYPE_CHECKING:
    from ..engine.progress import Progress


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
        self._under_way: tuple[str, Outcomes] | None = None

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
        stopped, failed = False, None
        while len(self.results) < len(self.chain) and not stopped and failed is None:
            try:
                failed = advance([self], while_waiting).get(0)
            except (Interrupted, KeyboardInterrupt):
                stopped = True
        # Raised outside the `except`, so that no traceback keeps the stopped run's frames.
        if stopped:
            raise Interrupted(f"Stopped in step {len(self.results) + 1} of {len(self.chain)}. Run it again for the rest.")
        if failed is not None:
            raise failed
        return self

    def next_step(self) -> ChainStep:
        """Return the step that comes next, with what the one before hands to it.

        Raises
        ------
        NbdiffuseError
            The step cannot be run on what the one before made, or its checkpoint cannot be loaded.
        """
        number = len(self.results)
        recipe, arrow = self._handed_over(number)
        complete = resolve(recipe)
        # What a file or the store gives has no latents, so it serves only where none are needed.
        last = number + 1 == len(self.chain)
        serves = last or not preset_of(self.chain[number + 1].model).takes_latents
        serves = serves and not isinstance(complete.image, Latents)
        return ChainStep(SweepCell(number, (), complete), arrow, self._store if serves else None)

    def recalled(self, step: ChainStep) -> Result | None:
        """Return what this session remembers of a step, unless every step is to be run."""
        return None if self._fresh else self._session.recall(step.cell.recipe)

    def watch(self, step: ChainStep | None, outcomes: Outcomes | None) -> None:
        """Tell which step is under way and who settles it, for `progress`; None when it is not."""
        self._under_way = None if step is None or outcomes is None else (step.cell.picture_key, outcomes)

    def take(self, step: ChainStep, outcome: Result) -> None:
        """Take over what came of the next step."""
        number = len(self.results)
        self.arrows += [step.arrow] if step.arrow else []
        own = outcome.under(step.cell.recipe)
        self.results.append(dataclasses.replace(own, chain=Chain(self.chain.steps[: number + 1]) if number else None))

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

    @property
    def session(self) -> Session:
        """What runs the steps."""
        return self._session

    def _share(self, step: Recipe, before: Result) -> bool:
        space = self._session.with_pipelines(lambda pipelines: pipelines.space(checkpoint_text(step), step.vae))
        return before.latents is not None and space == before.latents.space

    @property
    def progress(self) -> Progress | None:
        """Where the step under way is, or None."""
        if self._under_way is None:
            return None
        key, outcomes = self._under_way
        return outcomes.running.get(key)

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
        """Lines a person should read, once each with its steps."""
        return numbered([result.notices for result in self.results], "Step")

    @property
    def before_run(self) -> tuple[str, ...]:
        """Those of the notices that are known before anything runs."""
        return numbered([before_run(step) for step in self.chain], "Step")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the last picture, with the last step's recipe inside, and every step beside it in a folder of that name.

        Raises
        ------
        FileError
            The suffix is not .png, .jpg or .webp, or a file cannot be written.
        """
        target = path_of(path, "save")
        folder = made_folder(target.with_suffix(""))
        saved = self.results[-1].save(target)
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
        return noted(self.bundle(), self.notices)

    def bundle(self) -> dict[str, Any]:
        """Return what a notebook shows of it, without its notices."""
        cells = self.cells()
        if not cells:
            return {"text/plain": repr(self)}
        return {"image/png": png_bytes(contact_sheet(cells, columns=min(len(cells), COLUMNS))), "text/plain": repr(self)}


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
        index.keep(made.results[-1])
        return made
    result = get_session().run(link)
    index.keep(result)
    return result
