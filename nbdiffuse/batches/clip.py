"""Clip batch: the frames of a film redrawn in one call, in which a motion adapter lets each see the others."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..errors import FileError, Interrupted, NbdiffuseError, ParameterError, breaks_rule
from ..files.atomic import write_atomic
from ..files.targets import made_folder, shown_path
from ..recipes.clip_rules import clip_pipeline
from ..recipes.recipe import Recipe
from ..recipes.resolve import resolve
from ..recipes.sizes import fitted_pictures
from ..recipes.steps import real_steps
from ..scripts.clips import of_clip
from ..scripts.writing import Script
from ..sessions.waiting import wait
from ..store.store import predictable
from .batch import Batch
from .film import FilmBatch
from .outcome import Outcome, thumbnail
from .rows import Row

KEY = "nbdiffuse clip"
"""Text of a frame's file that says which clip it is of. It has no recipe: by itself no frame can be made again."""


class ClipBatch(FilmBatch):
    """A film whose frames are redrawn together; parameters and errors as for `FilmBatch`.

    Parameters
    ----------
    motion_adapter
        Directory or hub id of a motion adapter, such as guoyww/animatediff-motion-adapter-v1-5-3.
    """

    def __init__(self, recipe: Recipe, rows: Sequence[Row], folder: Path, *, motion_adapter: str, **how: Any) -> None:
        if not isinstance(motion_adapter, str) or not motion_adapter:
            raise ParameterError(breaks_rule("motion_adapter", "a directory or a hub id", motion_adapter))
        if how.get("executor") is not None:
            raise ParameterError("`executor` must be left out with `motion_adapter`: a clip is one call.")
        if any(row.source is None or row.values or row.words or row.prompting.changes for row in rows):
            rule = "given frames and one value of each field"
            raise ParameterError(breaks_rule("motion_adapter", rule, motion_adapter, "All frames are drawn after one prompt."))
        clip_pipeline(recipe)
        self.motion_adapter = motion_adapter
        super().__init__(recipe, rows, folder, **how)

    def windows(self, missing: Sequence[int]) -> list[list[int]]:
        """Return all rows at once, if any is missing."""
        return [list(range(len(self.rows)))] if missing else []

    def again(self, names: Sequence[str], folder: str | Path, **changes: Any) -> Batch:
        """Refuse: no frame of a clip is made by itself."""
        raise ParameterError(
            "`again` must be left out for a clip, whose frames are made together. Make it anew in another folder."
        )

    def to_script(self, *, own_folder: bool = False, name: str = "result") -> Script:
        """Write the clip as a program of plain diffusers calls with the same pixels; `nbdiffuse.program` calls it."""
        recipe, frames = self._frames()
        machine = self._session.fingerprint(recipe)
        return of_clip(recipe, frames, self.motion_adapter, machine, own_folder=own_folder, name=name)

    def _settle(self, places: Sequence[int], while_waiting: Callable[[], None]) -> None:
        try:
            recipe, frames = self._frames()
            key = self._key(recipe, frames)
            if all(_key_of(self.folder / row.file) == key for row in self.rows):
                self._note("kept", recipe, frames, None)
                return
            began = time.perf_counter()
            made = wait(self._session.submit_clip(recipe, frames, self.motion_adapter), while_waiting)
            for row, image in zip(self.rows, made, strict=True):
                _write(image, self.folder / row.file, key)
            self._note("made", recipe, frames, (time.perf_counter() - began) / len(frames))
        except (Interrupted, KeyboardInterrupt):
            raise
        except NbdiffuseError as error:
            # Nothing of a clip is there without all of it.
            self._halted = error.with_traceback(None)

    def _frames(self) -> tuple[Recipe, list[Image.Image]]:
        """Return the first frame's complete recipe, and all frames in the run's size."""
        complete = [resolve(row.recipe(self.recipe)) for row in self.rows]
        sizes = {(one.width, one.height) for one in complete}
        if len(sizes) > 1:
            raise ParameterError(
                breaks_rule("images", "of one size with `motion_adapter`", sorted(sizes), "Set width and height.")
            )
        return complete[0], [fitted_pictures(one)["image"] for one in complete]

    def _key(self, recipe: Recipe, frames: Sequence[Image.Image]) -> str:
        """Return what names this clip: all that can change its pixels."""
        said = recipe.replace(image=None).to_json(), self.motion_adapter, predictable(self._session.fingerprint(recipe))
        found = hashlib.sha256(json.dumps([*said[:2], sorted(said[2].items())]).encode())
        for frame in frames:
            found.update(frame.tobytes())
        return found.hexdigest()

    def _note(self, state: str, recipe: Recipe, frames: Sequence[Image.Image], seconds: float | None) -> None:
        for place, frame in enumerate(frames):
            steps, before = real_steps(recipe), thumbnail(frame)
            self.outcomes[place] = Outcome(state, seconds, frame.size, steps, before=before, prompt=recipe.prompt)
            self.pace.note()


def _key_of(file: Path) -> str:
    try:
        with Image.open(file, formats=("PNG",)) as opened:
            opened.load()
            return str(getattr(opened, "text", {}).get(KEY, ""))
    except (OSError, ValueError, SyntaxError):
        return ""


def _write(image: Image.Image, file: Path, key: str) -> None:
    text, data = PngInfo(), io.BytesIO()
    text.add_text(KEY, key)
    image.save(data, "PNG", pnginfo=text)
    made_folder(file.parent)
    try:
        write_atomic(file, data.getvalue())
    except OSError as error:
        raise FileError(f"{shown_path(file)} cannot be written: {error.strerror or error}.") from None
