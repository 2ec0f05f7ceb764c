"""The function `batch`: a recipe, carried out on many pictures."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from ..errors import ParameterError, breaks_rule
from ..files.paths import path_of
from ..prompts import wildcards as lists
from ..recipes.recipe import Recipe
from ..sessions.session import get_session
from ..sweeps.counts import checked_count
from .batch import TOGETHER, Batch
from .captions import Captions
from .clip import ClipBatch
from .film import FilmBatch
from .films import is_animation
from .prompting import Prompting
from .rows import rows_of
from .sequence import following


def batch(
    recipe: Recipe,
    images: Any = None,
    *,
    table: Any = None,
    prompts: Any = None,
    wildcards: str | os.PathLike[str] | None = None,
    captioner: str | None = None,
    frames: Any = None,
    carry: float | None = None,
    seed_every: int | None = None,
    noise_walk: int | None = None,
    motion_adapter: str | None = None,
    film: str | os.PathLike[str] | None = None,
    rate: float | None = None,
    folder: str | os.PathLike[str] | None = None,
    executor: Executor | str | None = None,
    on_error: str = "continue",
    together: int = TOGETHER,
    measure: Sequence[str] = (),
    num_images_per_prompt: int | None = None,
    **axes: Any,
) -> Batch:
    """Redraw the pictures of a folder, an archive, a table or a film into another folder; nothing runs before `run`.

    Parameters
    ----------
    recipe
        What is done to each; its prompt may name a table's columns, as in "a {animal} in the snow".
    images
        A folder, a .zip, a pattern such as "shots/*.png", a film, or a list of pictures and paths.
    table
        In the place of `images`: a .csv, .tsv or .jsonl file, a `pandas.DataFrame` or a list of mappings, whose
        columns are fields of a recipe: `image`, `prompt`, `strength`, `seed`, `mask_image` and so on.
    prompts
        A text file with a prompt in each line, or a list of prompts: each picture is made with each, or without
        pictures each prompt once. A recipe's prompt that says {prompt} is kept around it.
    wildcards
        A folder of text files: __animals__ in a prompt becomes a line of animals.txt. The seed and the row's name
        decide which, and the result's recipe has it.
    captioner
        A model of transformers that says what a picture shows, where the prompt has {caption}; a hub id or a directory.
    frames
        Of a film or an animation, as "START:STOP:STEP" from 0, or "all"; an animation is its first frame without it.
    carry
        Share of the result before in each frame's initial picture, in [0, 1): what is drawn stays where it was. The
        frames are then made one after the other.
    seed_every
        Frames after which the seed goes up by one, and the noise is another one; the same in each frame when None.
    noise_walk
        Frames in which the noise turns smoothly to that of another seed, at least 2; in as many it turns back, and then
        to a third one's. Each frame has its `variation_seed` and `variation_strength`.
    motion_adapter
        Directory or hub id of a motion adapter for AnimateDiff: all frames are redrawn in one call, in which each sees
        the others; with Stable Diffusion 1.5, and as many frames as the adapter sees at once, 32 or so.
    film
        File that the results become, .mp4, .webm, .mov, .mkv, .gif or .webp, at the source's times and with its sound.
    rate
        Frames a second of a film that is made from pictures, in (0, 240]; 24 when None.
    folder
        Where results go, each named after its picture, with an `index.html` that shows them; beside the film when None.
        The same call goes on where it stopped, and draws the seed that it drew before.
    executor
        Runs the rows instead of this process's session, a task each: an executor or a word such as "dask", see `sweep`.
    on_error
        "continue" with the other rows when one fails, or "stop".
    together
        Rows that are read and share model calls, at most, in [1, 1000]; with 1 every pixel is that of a run by itself,
        else a few may differ by 1 of 255.
    measure
        Metrics of each result, such as ["kept", "drift"], see `Batch.measure`; the page can be ordered by them.
    num_images_per_prompt
        Pictures of each, whose seeds go up by one; not of a film, which shows one for each frame.
    **axes
        Values that each picture is made with, by field, as for `sweep`.

    Returns
    -------
    Batch
        Call `run`.

    Raises
    ------
    ParameterError, FileError, ImageInputError
        Nothing is there, the folder has something else, or a value breaks its rule.
    NbdiffuseError
        What reads films is not installed.
    """
    if folder is None and film is None:
        raise ParameterError("`folder` must be given: results go there. For a film give `film`.")
    target = path_of(f"{os.path.splitext(os.fspath(film))[0]}-frames" if folder is None else folder, "folder")  # type: ignore[arg-type]
    prompting, said = _prompting(wildcards, captioner, target)
    changing = {"carry": carry, "seed_every": seed_every, "noise_walk": noise_walk}
    in_order = film is not None or any(value is not None for value in changing.values())
    if in_order and frames is None and is_animation(images):
        frames = "all"
    count = None if num_images_per_prompt is None else checked_count(num_images_per_prompt, "seed" in axes)
    if count is not None and in_order:
        raise ParameterError("`num_images_per_prompt` must be left out of a film, which shows one picture for each frame.")
    rows, notices = rows_of(recipe, images, table, axes, prompts, frames, prompting, count)
    noted = {**prompting.noted, **{name: value for name, value in changing.items() if value is not None}}
    if in_order:
        rows = following(recipe, rows, target, carry, seed_every, noise_walk)
    how: dict[str, Any] = {"on_error": on_error, "noted": noted, "notices": (*notices, *said)}
    how |= {"together": 1 if carry else together, "executor": executor, "measure": measure}
    if motion_adapter is not None:
        if film is None or len(noted) > len(prompting.noted):
            rule = "given with a film, and without carry, seed_every and noise_walk"
            raise ParameterError(breaks_rule("motion_adapter", rule, motion_adapter, "Name a film's file, such as clip.mp4."))
        how["noted"] = {**noted, "motion_adapter": motion_adapter}
        return ClipBatch(recipe, rows, target, film=path_of(film, "film"), rate=rate, motion_adapter=motion_adapter, **how)
    if film is not None:
        return FilmBatch(recipe, rows, target, film=path_of(film, "film"), rate=rate, **how)
    if rate is not None:
        raise ParameterError(breaks_rule("rate", "given with a film", rate, "Name its file as `film`."))
    return Batch(recipe, rows, target, **how)


def _prompting(wildcards: Any, captioner: str | None, folder: Path) -> tuple[Prompting, tuple[str, ...]]:
    """Return what completes the prompts, and what a person should read of it."""
    known = None if wildcards is None else lists.read(wildcards)
    captions = None if captioner is None else Captions(get_session(), captioner, folder)
    noted = {} if captioner is None else {"captioner": captioner}
    if known is not None:
        # Other lines would give other prompts to the same names.
        noted["wildcards"] = hashlib.sha256(json.dumps(sorted(known.items())).encode()).hexdigest()
    return Prompting(known, captions, noted), () if captions is None else (captions.notice,)
