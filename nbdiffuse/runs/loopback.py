"""Loopback: one recipe run again and again on its own result, with a strength that changes from pass to pass."""

from __future__ import annotations

import dataclasses
import io
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..errors import FileError, Interrupted, ParameterError, SafetyCheckerError, breaks_rule, did_you_mean
from ..files.atomic import write_atomic
from ..files.targets import check_file, made_folder
from ..images.colors import mean_color, toward
from ..images.contact_sheets import COLUMNS, Cell, contact_sheet, noted, png_bytes
from ..images.mask_edges import edge
from ..images.masks import overlay
from ..images.picture import Picture
from ..recipes.notices import before_run
from ..recipes.parts import SHAPING
from ..recipes.recipe import PARAMS, Recipe
from ..recipes.resolve import resolve
from ..recipes.sizes import SHAPE, fitted_pictures
from ..recipes.steps import real_steps, start_text
from ..results import Result, given_cells
from ..sessions.session import Session, get_session
from ..sessions.waiting import wait
from .notices import counted

if TYPE_CHECKING:
    from ..engine.progress import Progress

CURVES: dict[str, Callable[[float], float]] = {
    "linear": lambda part: part,
    "aggressive": lambda part: math.sin(math.pi * part / 2),
    "lazy": lambda part: 1 - math.cos(math.pi * part / 2),
}
"""How the strength goes from its first to its final value over the passes, each part in [0, 1]."""
MAX_PASSES = 64
FORMATS = {".gif": "GIF", ".webp": "WEBP"}
MILLISECONDS = 400
"""How long each picture of an animation is shown."""


def strengths(first: float, final: float, passes: int, curve: str = "linear") -> list[float]:
    """Return the strength of each pass.

    Parameters
    ----------
    first, final
        In [0, 1].
    passes
        In [1, 64].
    curve
        A key of `CURVES`.
    """
    parts = [index / (passes - 1) if passes > 1 else 0.0 for index in range(passes)]
    return [round(first + (final - first) * CURVES[curve](part), 6) for part in parts]


class Loopback:
    """Passes of one recipe over its own result; `run` goes on where it stopped.

    Parameters
    ----------
    recipe
        Image-to-image; its seed goes up by one from pass to pass.
    passes
        In [1, 64].
    final_strength
        Strength of the last pass, in [0, 1]; the first one's when not given.
    curve
        A key of `CURVES`.
    color_correction
        "lab" brings the colours of every pass back to the initial picture's; "none" leaves them.
    session
        Runs the passes; this process's session when not given.

    Raises
    ------
    ParameterError
        A value breaks its rule, or a pass would run no step.
    """

    def __init__(
        self,
        recipe: Recipe,
        passes: int = 4,
        final_strength: float | None = None,
        curve: str = "linear",
        color_correction: str = "none",
        session: Session | None = None,
    ) -> None:
        if recipe.image is None:
            raise ParameterError("`image` must be given for a loopback, got none. Give the picture to begin with.")
        if type(passes) is not int or not 1 <= passes <= MAX_PASSES:
            raise ParameterError(breaks_rule("passes", f"a whole number in [1, {MAX_PASSES}]", passes))
        if curve not in CURVES:
            raise ParameterError(breaks_rule("curve", f"one of {', '.join(CURVES)}", curve, did_you_mean(curve, CURVES)))
        if color_correction not in ("none", "lab"):
            raise ParameterError(breaks_rule("color_correction", "one of none, lab", color_correction))
        final_strength = None if final_strength is None else PARAMS["strength"].check("final_strength", final_strength)
        complete = resolve(recipe)
        if complete.noise is not None and final_strength is not None:
            line = "`final_strength` must be left out where `noise` is given: every pass begins with that share."
            raise ParameterError(f"{line} Give `strength` in its place.")
        first = complete.strength if complete.strength is not None else 0.0
        given = strengths(first, first if final_strength is None else final_strength, passes, curve)
        moved = [{} if complete.noise is not None else {"strength": strength} for strength in given]
        seed = complete.seed or 0
        self.recipes = [resolve(complete.replace(seed=seed + number, **more)) for number, more in enumerate(moved)]
        self.color_correction = color_correction
        self.results: list[Result] = []
        self.pictures: list[Image.Image] = []
        self.progress: Progress | None = None
        self._session = session or get_session()

    def run(self, while_waiting: Callable[[], None] = lambda: None) -> Loopback:
        """Run the passes that are missing and return this loopback.

        Raises
        ------
        Interrupted
            Finished passes stay; run it again for the rest.
        """
        while len(self.results) < len(self.recipes):
            number = len(self.results)
            recipe = self.recipes[number]
            if number:
                recipe = recipe.replace(image=Picture.of(self.pictures[-1], label=f"pass {number}"), **self._over_first())
            try:
                result = wait(self._session.submit(recipe, self._take_note), while_waiting)
            except (Interrupted, KeyboardInterrupt):
                break
            finally:
                self.progress = None
            if result.problem is not None:
                raise SafetyCheckerError(f"Pass {number + 1}: {result.problem}")
            self.results.append(result)
            self.pictures.append(self._corrected(result.image) if self.color_correction == "lab" else result.image)
        else:
            return self
        # Raised outside the `except`, so that no traceback keeps the stopped run's frames.
        raise Interrupted(f"Stopped in pass {len(self.results) + 1} of {len(self.recipes)}. Run it again for the rest.")

    def _over_first(self) -> dict[str, Any]:
        """Return mask and control pictures as they lie over the first pass's picture: later ones have another size."""
        first = self.recipes[0]
        fitted = fitted_pictures(first)
        others = {name: picture for name, picture in first.pictures.items() if name != "image"}
        moved = {name: picture for name, picture in others.items() if picture.size != fitted[name].size}
        lying = {name: _as_it_lies(picture, fitted[name]) for name, picture in moved.items() if isinstance(picture, Picture)}
        # What is done to a mask's picture is done in that one's own pixels, and it is done.
        done = dict.fromkeys(SHAPING) if "mask_image" in lying else {}
        # As in AUTOMATIC1111's own loopback, something else is under the mask in the first pass alone.
        return {**lying, **done, **({"mask_content": None} if first.mask is not None and first.mask.hides else {})}

    def _corrected(self, image: Image.Image) -> Image.Image:
        corrected, first = toward(image, self._first()), self.recipes[0]
        # What a mask keeps is kept from the correction, too.
        if not first.keeps_pixels or first.mask is None:
            return corrected
        mask = edge(fitted_pictures(first)["mask_image"], first.mask.overlay, first.mask.differential)
        return overlay(corrected, self._first(), mask)

    def _take_note(self, progress: Progress) -> None:
        self.progress = progress

    @property
    def notices(self) -> tuple[str, ...]:
        """Lines a person should read, once each."""
        return counted([result.notices for result in self.results], "passes")

    @property
    def before_run(self) -> tuple[str, ...]:
        """Those of the notices that are known before anything runs."""
        first, *others = self.recipes
        image = first.image
        # Later passes start from results, to which nothing was done.
        later = Picture(image.address, image.label) if isinstance(image, Picture) else image
        recipes = [first, *(recipe.replace(image=later, **self._over_first()) for recipe in others)]
        return counted([before_run(recipe) for recipe in recipes], "passes")

    @property
    def under_way(self) -> str:
        """Name the pass under way, for people."""
        return f"{min(len(self.results) + 1, len(self.recipes))}"

    def _first(self) -> Image.Image:
        image: Image.Image = given_cells(self.recipes[0])[0].image or Image.new("RGB", (1, 1))
        return image

    @property
    def image(self) -> Image.Image:
        """What the last finished pass made, RGB."""
        if not self.pictures:
            raise ParameterError("`image` needs a finished pass, and there is none. Run the loopback.")
        return self.pictures[-1]

    @property
    def drift(self) -> list[float]:
        """How far the mean colour of each pass is from the initial picture's, in units of CIELAB (2.3 is just seen)."""
        start = mean_color(self._first())
        return [float(np.linalg.norm(mean_color(picture) - start)) for picture in self.pictures]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the initial picture and every pass as an animation, .gif or .webp.

        Raises
        ------
        FileError
            The suffix is another one, or the file cannot be written.
        """
        target = check_file(path, FORMATS)
        made_folder(target.parent)
        try:
            write_atomic(target, self._animation(FORMATS[target.suffix.lower()]))
        except OSError as error:
            raise FileError(f"{target} cannot be written: {error.strerror}. The pictures are still in memory.") from None
        return target

    def _animation(self, kind: str) -> bytes:
        frames = [self._first(), *self.pictures]
        buffer = io.BytesIO()
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=MILLISECONDS, loop=0)
        return buffer.getvalue()

    def cells(self) -> list[Cell]:
        """Return the strip: the initial picture and every pass with its strength, steps and drift."""
        labels = [
            f"{number}  {start_text(recipe)}  {real_steps(recipe)} steps\ndrift {drift:.1f}"
            for number, (recipe, drift) in enumerate(zip(self.recipes, self.drift, strict=False), start=1)
        ]
        passes = [Cell(picture, label) for picture, label in zip(self.pictures, labels, strict=True)]
        return [*given_cells(self.recipes[0])[:1], *passes]

    def __repr__(self) -> str:
        return f"loopback: {len(self.results)} of {len(self.recipes)} passes"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return noted(self.bundle(), self.notices)

    def bundle(self) -> dict[str, Any]:
        """Return what a notebook shows of it, without its notices."""
        sheet = png_bytes(contact_sheet(self.cells(), columns=min(COLUMNS, len(self.results) + 1)))
        return {"image/png": sheet, "text/plain": repr(self)}


def _as_it_lies(picture: Picture, fitted: Image.Image) -> Picture:
    """Return a picture in the size of the run; its own shape is gone, and all else that was said of it holds on."""
    notices = tuple(line for line in picture.notices if not line.startswith(SHAPE))
    return dataclasses.replace(Picture.of(fitted, picture.label), notices=notices, read_as_mask=picture.read_as_mask)
