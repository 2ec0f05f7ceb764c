"""Commands of `%diffuse` that ask where pictures come from."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from IPython.display import DisplayHandle, display

from ..cells.from_file import WORDS, ParsedFile, read, variable_for, visible
from ..errors import Interrupted, ParameterError, breaks_rule, did_you_mean
from ..files.paths import here, path_of
from ..images.picture import Picture
from ..metadata import image_files
from ..recipes.sizes import stretched
from ..results import Result
from ..runs.chain_grid import ChainGrid
from ..runs.chain_run import ChainRun
from ..runs.grid import Grid
from ..runs.replay import replay
from ..runs.verify import Verdict, Verification, verify
from ..sessions.history import History, with_pictures
from ..store.compare import Comparison, Side
from ..store.index import PictureIndex
from ..store.lineage import Lineage, trace

_ANY = 1_000_000
NEEDS = {
    "read": (1, "a file", 1),
    "history": (0, "words", _ANY),
    "diff": (2, "two results or files", 2),
    "lineage": (1, "a result or a file", 1),
    "verify": (1, "results, files or folders", _ANY),
    "replay": (1, "a result or a file", 2),
    "plan": (1, "the name of a grid", 1),
}
"""How many words a command needs at least, what they are, and how many it takes at most."""


def commands(shell: Any) -> dict[str, Callable[..., Any]]:
    """Return the commands of this file for a shell, by name."""
    names = shell.user_ns
    return {
        "read": functools.partial(read_file, shell),
        "history": history_of,
        "diff": functools.partial(compare, names),
        "lineage": functools.partial(lineage_of, names),
        "verify": functools.partial(verify_all, names),
        "replay": functools.partial(replay_one, names),
        "plan": functools.partial(plan_of, names),
    }


def read_file(shell: Any, file: str) -> ParsedFile:
    """Read how a picture was made, and insert the cell that makes it below the one that runs.

    The pictures that it starts from are put into variables of their own where they are
    at hand: in this session, in the store, or beside the file.
    """
    reading = read(file)
    picture_index = PictureIndex(folders=(path_of(file).parent,))
    words, lines = dict(WORDS), []
    reading = dataclasses.replace(reading, recipe=stretched(with_pictures(reading.recipe, picture_index)))
    for field, picture in reading.recipe.pictures.items():
        words[field] = _free(variable_for(field), shell.user_ns, picture)
        if isinstance(picture, Picture) and picture.at_hand:
            shell.user_ns[words[field]] = picture
            lines.append(f"`{words[field]}` is the picture that the recipe names.")
        else:
            lines.append(f"Put the picture {picture.address[:19]}… into `{words[field]}` before the cell runs: it was not found.")
    shell.set_next_input(reading.cell(words))
    return reading.noting(*lines)


def _free(word: str, names: Mapping[str, Any], picture: Any) -> str:
    """Return a name that holds nothing else yet."""
    candidates = (word if number == 1 else f"{word}_{number}" for number in range(1, len(names) + 3))
    return next(one for one in candidates if one not in names or names[one] == picture)


def history_of(*words: str) -> History:
    """List what this and earlier kernels made, the newest first."""
    return History(words)


def plan_of(names: Mapping[str, Any], word: str) -> str:
    """Return what a grid runs: its images and their time, then cells, different images, steps and models."""
    grid = names.get(word)
    if not isinstance(grid, (Grid, ChainGrid)):
        known = [name for name, value in names.items() if isinstance(value, (Grid, ChainGrid)) and not name.startswith("_")]
        raise ParameterError(f"`%diffuse plan` must be followed by the name of a grid, got {word!r}. {did_you_mean(word, known)}")
    return f"{grid.plan_line()}\n{grid.plan_details()}"


def compare(names: Mapping[str, Any], first: str, second: str) -> Comparison:
    """Show in which parameters two results or files differ."""
    return Comparison(_side(first, names), _side(second, names))


def lineage_of(names: Mapping[str, Any], word: str) -> Lineage:
    """Show what a result or a file was made from."""
    held = _result_or_file(word, names)
    if isinstance(held, Result):
        return held.lineage(os.curdir)
    provenance = image_files.read(held).provenance
    picture_index = PictureIndex(folders=(held.parent,))
    if provenance is None:
        # Only ours say what they were made from; of others one step can be shown.
        return Lineage(read(held).recipe, Picture.of(held).image, held.name, "")
    return trace(Picture.of(held).image, provenance, picture_index, held.name)


def verify_all(names: Mapping[str, Any], *words: str) -> None:
    """Make results, files and folders of files again, and show whether they come out the same in place of the progress."""
    words, yes = _without_yes("verify", words)
    sources = [_result_or_file(word, names) for word in words]
    line: DisplayHandle | None = None
    finished: list[Verdict] = []

    def show(done: int, total: int, name: str) -> None:
        nonlocal line
        text = {"text/plain": visible(f"{done + 1} of {total}: {name}")}
        if line is None:
            line = display(text, raw=True, display_id=True)
        else:
            line.update(text, raw=True)

    stopped = False
    try:
        verify(*sources, on_progress=show, on_verdict=finished.append, names=words, yes=yes)
    except (Interrupted, KeyboardInterrupt):
        stopped = True
    verdicts = Verification(finished)
    if line is None:
        display(verdicts)
    else:
        line.update(verdicts)
    if stopped:
        raise Interrupted(f"Stopped after {len(finished)}; their verdicts stand above.")


def replay_one(names: Mapping[str, Any], *words: str) -> Result:
    """Make a result or a file again with its whole ancestry, and show what comes of it."""
    words, yes = _without_yes("replay", words)
    if len(words) > 1:
        raise ParameterError(breaks_rule("%diffuse replay", "followed by one result or file", " ".join(words)))
    return replay(_result_or_file(words[0], names), yes=yes)


def _without_yes(command: str, words: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """Take `--yes` out of a command's words, and tell whether it was there."""
    rest = tuple(word for word in words if word != "--yes")
    if not rest:
        raise ParameterError(f"`%diffuse {command}` must be followed by {NEEDS[command][1]}, got {' '.join(words)!r}.")
    return rest, len(rest) < len(words)


def _result_or_file(word: str, names: Mapping[str, Any]) -> Result | Path:
    """Return what a word names: a variable's result, or a file."""
    held = names.get(word) if word.isidentifier() else None
    if isinstance(held, ChainRun) and held.results:
        return held.results[-1]
    if isinstance(held, Result):
        return held
    path = here(word)
    if path is not None:
        return path
    results = [name for name, value in names.items() if isinstance(value, (Result, ChainRun)) and not name.startswith("_")]
    way_out = did_you_mean(word, results) if results else "No variable holds a result yet: give a cell `--out NAME`."
    raise ParameterError(breaks_rule("%diffuse", "followed by results or files", word, way_out))


def _side(word: str, names: Mapping[str, Any]) -> Side:
    held = _result_or_file(word, names)
    if isinstance(held, Result):
        return Side(word, held.recipe, held.shown_fingerprint, held.image)
    reading = read(held)
    fingerprint = reading.provenance.fingerprint if reading.provenance else {}
    return Side(word, reading.recipe, fingerprint, Picture.of(held).image)
