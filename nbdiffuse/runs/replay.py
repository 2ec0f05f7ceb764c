"""Replay: a result is made again with its ancestors, and with a change where one is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any

from ..errors import FileError, ImageInputError, ParameterError, Words, breaks_rule
from ..files.paths import path_of
from ..images.latents import Latents
from ..images.picture import Picture
from ..metadata.image_files import read
from ..metadata.provenance import Provenance
from ..recipes import lora
from ..recipes.chain import Chain
from ..recipes.fields import first_name
from ..recipes.portable import WEIGHTS
from ..recipes.presets import preset_of
from ..recipes.recipe import Recipe
from ..recipes.resolve import open_fields, resolve, with_weights
from ..recipes.sizes import stretched
from ..recipes.textual_inversion import TextualInversion
from ..results import Result
from ..sessions.history import with_pictures
from ..sessions.session import get_session
from ..sessions.waiting import wait
from ..store.index import PictureIndex, keep
from ..store.lineage import MAX_DEPTH, given_as
from .chain_run import ChainRun
from .consent import ask

Source = Result | ChainRun | Provenance | str | os.PathLike[str]
"""What can be replayed: a result, a chain, a file of ours, or its provenance."""


def replay(source: Source, *, step: int | None = None, yes: bool = False, **changes: Any) -> Result:
    """Make something again with its whole ancestry, with a change where one is given.

    Its line is followed back over initial pictures that were results themselves, and
    over the steps of chains. The steps before the changed one give what they gave
    before, so they are run only where their pictures are not at hand.

    Parameters
    ----------
    source
        A result, a chain's run, or a file that nbdiffuse saved.
    step
        The step that is changed, in [1, n] from the oldest one; the last one when not given.
    yes
        Whether weights that a file names may be fetched from the hub, or read from a local path.
        What is in this package or whole in the hub's cache needs no yes.
    **changes
        Recipe fields; a `model` without a `checkpoint` brings its own weights.

    Returns
    -------
    Result
        Of the last step; byte for byte the same as before without a change, on the same
        machine with the same versions.

    Raises
    ------
    ParameterError
        A change breaks a rule, or there is no such step; nothing was run.
    FileError
        The file does not say how it was made.
    ConsentError
        A file names weights that have to be fetched, or that are at a local path; the line says which.
    ImageInputError
        A picture that a step started from is nowhere.

    Examples
    --------
    >>> replay("cat.png", strength=0.4)  # doctest: +SKIP
    """
    provenance, picture_index = traced(source)
    line = _line(provenance, picture_index, is_claim(source))
    stages, claims = [as_made(stage, picture_index) for stage, _ in line], [claim for _, claim in line]
    total = sum(map(len, stages))
    number = total if step is None else step
    if type(number) is not int or not 1 <= number <= total:
        raise ParameterError(breaks_rule("step", f"a whole number in [1, {total}]", Words(repr(number))))
    index, inside = _place(stages, number)
    stages[index] = changed_stage(stages[index], inside, changes)
    begin = _begin(stages, index, picture_index)
    result: Result | None = None
    asked = [step for stage, claim in zip(stages[begin:], claims[begin:], strict=True) if claim for step in stage]
    with allowed(asked, yes, changes):
        for stage in stages[begin:]:
            if result is not None:
                stage = stage.replace(1, image=Picture.of(result.image, label="step before"))
            result = again(stage, picture_index)[-1]
    if result is None:
        raise ParameterError("`source` must have a step to run, got none.")
    keep(result)
    return result


def is_claim(source: Source) -> bool:
    """Tell whether a source is what a file says, which somebody else may have written."""
    return not isinstance(source, ChainRun) and (not isinstance(source, Result) or source.claimed_fingerprint is not None)


def allowed(
    steps: Sequence[Recipe], yes: bool, changes: Mapping[str, Any] = MappingProxyType({})
) -> AbstractContextManager[None]:
    """Ask for what steps that a file names need, see `consent.ask`; what the person changed is the person's own."""
    own = [
        value
        for name, value in changes.items()
        if first_name(name) in (*WEIGHTS, "lora", "embedding", "model") and value is not None
    ]
    complete = [with_weights(step, preset_of(step.model)) for step in steps]
    # What no file names is this machine's own choice.
    own += [step.checkpoint for step, before in zip(complete, steps, strict=True) if before.checkpoint is None]
    own += [one.file for text in own if isinstance(text, str) and text == changes.get("lora") for one in lora.read(text)]
    given = changes.get("embedding")
    own += [one.file for one in TextualInversion.several(given)] if isinstance(given, str) else []
    return ask(complete, yes, own) if complete else nullcontext()


def traced(source: Source) -> tuple[Provenance, PictureIndex]:
    """Return how something was made, and the picture index in which its ancestors are looked for."""
    if isinstance(source, Provenance):
        return source, PictureIndex()
    if isinstance(source, ChainRun):
        if not source.results:
            raise ParameterError("`source` must be a chain with a finished step, got none. Run the chain.")
        return source.results[-1].provenance, PictureIndex()
    if isinstance(source, Result):
        return source.provenance, PictureIndex()
    if not isinstance(source, (str, os.PathLike)):
        raise ParameterError(breaks_rule("source", "a result, a chain's run, or a file", source))
    provenance = read(source).provenance
    if provenance is None:
        way_out = "`nbdiffuse.read` tells what other tools wrote."
        raise FileError(f"{os.fspath(source)!r} holds no recipe of nbdiffuse, or was stripped of it. {way_out}")
    missing = open_fields(provenance.recipe)
    if missing:
        raise FileError(f"{os.fspath(source)!r} does not say all that a run needs: {', '.join(missing)} is missing.")
    return provenance, PictureIndex(folders=(path_of(source).parent,))


def again(stage: Chain, picture_index: PictureIndex, while_waiting: Callable[[], None] = lambda: None) -> list[Result]:
    """Run complete steps afresh, whatever this session or the store remember of them, and return what each gives.

    Raises
    ------
    ImageInputError
        A picture that a step starts from is nowhere.
    SafetyCheckerError
        The checkpoint's safety checker made a picture black.
    """
    held = Chain(tuple(_with_pixels(step, picture_index) for step in stage))
    if len(held) > 1:
        return ChainRun(held, fresh=True).run(while_waiting).results
    made = wait(get_session().submit(held[0]), while_waiting)
    if made.problem is not None:
        raise made.problem
    return [made]


def as_made(stage: Chain, picture_index: PictureIndex) -> Chain:
    """Return steps with the pictures that are found, as earlier versions meant them, see `sizes.stretched`."""
    return Chain(tuple(stretched(with_pictures(step, picture_index)) for step in stage))


def chain_of(provenance: Provenance) -> Chain:
    """Return the steps of one run: those of its chain, or its one recipe."""
    return provenance.chain or Chain((provenance.recipe,))


def _with_pixels(step: Recipe, picture_index: PictureIndex) -> Recipe:
    held = with_pictures(step, picture_index)
    for name, picture in held.pictures.items():
        if isinstance(picture, Picture) and not picture.at_hand:
            rule = (
                f"The {given_as(name)} {picture.address[:19]}… is nowhere: not in this session, the store or the file's folder."
            )
            raise ImageInputError(f"{rule} Put its file beside the result, or take it in with nbdiffuse.Picture.of(FILE).")
    return held


def _line(provenance: Provenance, picture_index: PictureIndex, claim: bool) -> list[tuple[Chain, bool]]:
    """Return the runs that led here, the oldest first, each with whether a file says so."""
    stages, seen = [(chain_of(provenance), claim)], set[str]()
    while len(stages) < MAX_DEPTH:
        start = stages[0][0][0].image
        address = start.view.address if isinstance(start, Latents) else start.address if start is not None else ""
        found = picture_index.made(address) if address and address not in seen else None
        if found is None:
            break
        seen.add(address)
        stages.insert(0, (chain_of(found.provenance), found.is_claim))
    return stages


def _place(stages: list[Chain], number: int) -> tuple[int, int]:
    """Return which run a step belongs to, and which of its steps it is, from 1."""
    for index, stage in enumerate(stages):
        if number <= len(stage):
            return index, number
        number -= len(stage)
    raise ParameterError(breaks_rule("step", "one of the line's", number))


def changed_stage(stage: Chain, number: int, changes: dict[str, Any]) -> Chain:
    """Return steps of which one is changed; a `model` without a `checkpoint` brings its own weights."""
    if "model" in changes and "checkpoint" not in changes:
        changes = {**changes, "checkpoint": None}
    changed = stage.replace(number, **changes)
    if changes and number == 1:
        # Every rule before anything is run; the picture of a later step is not there yet.
        step = changed[0]
        if all(not isinstance(picture, Picture) or picture.at_hand for picture in step.pictures.values()):
            resolve(step)
    return changed


def _begin(stages: list[Chain], changed: int, picture_index: PictureIndex) -> int:
    """Return the first run that has to be made again: the changed one, or one before whose initial picture is at hand."""
    for index in range(changed, 0, -1):
        start = stages[index][0].image
        if start is None or isinstance(start, Latents) or picture_index.picture(start.address) is not None:
            return index
    return 0
