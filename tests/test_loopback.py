"""Loopback: passes with the stated strengths, a drift that is measured, and colours that can be held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nbdiffuse import Recipe, Session
from nbdiffuse.errors import FileError, Interrupted, ParameterError
from nbdiffuse.images.picture import Picture
from nbdiffuse.runs.loopback import CURVES, Loopback, strengths, toward

RECIPE = {"prompt": "a cat in the snow", "num_inference_steps": 6, "seed": 7, "strength": 0.75}


def test_the_strengths_are_those_of_the_web_ui() -> None:
    assert strengths(0.75, 0.5, 4, "linear") == pytest.approx([0.75, 0.667, 0.583, 0.5], abs=1e-3)
    assert strengths(0.75, 0.5, 4, "aggressive") == pytest.approx([0.75, 0.625, 0.533, 0.5], abs=1e-3)
    assert strengths(0.75, 0.5, 4, "lazy") == pytest.approx([0.75, 0.717, 0.625, 0.5], abs=1e-3)
    assert all(strengths(0.75, 0.5, 1, curve) == [0.75] for curve in CURVES)


def test_each_pass_is_the_run_of_its_own_recipe(session: Session, scene: Any, tmp_path: Path) -> None:
    loop = Loopback(Recipe(image=scene.image, **RECIPE), 3, final_strength=0.5).run()
    picture = scene.image
    for number, result in enumerate(loop.results):
        again = session.run(Recipe(image=picture, **{**RECIPE, "strength": loop.recipes[number].strength, "seed": 7 + number}))
        assert again.image.tobytes() == result.image.tobytes()
        picture = Picture.of(result.image)
    assert len(loop.cells()) == 4 and len(loop.drift) == 3 and repr(loop) == "loopback: 3 of 3 passes"
    for name in ("loop.gif", "loop.webp"):
        assert Image.open(loop.save(tmp_path / name)).n_frames == 4
    with pytest.raises(FileError, match=r"ends in \.gif or \.webp"):
        loop.save(tmp_path / "loop.mp4")


def test_colours_that_are_held_drift_less(scene: Any) -> None:
    drifting = {**RECIPE, "prompt": "a cat in the desert, warm color palette, vivid colors", "strength": 0.9}
    free = Loopback(Recipe(image=scene.image, **drifting), 3).run()
    held = Loopback(Recipe(image=scene.image, **drifting), 3, color_correction="lab").run()
    assert max(held.drift) < max(free.drift)


def test_a_correction_toward_itself_changes_next_to_nothing(scene: Any) -> None:
    same = np.asarray(toward(scene.image, scene.image), int)
    assert np.abs(same - np.asarray(scene.image, int)).mean() < 2


def test_an_interrupted_loopback_goes_on(scene: Any) -> None:
    loop = Loopback(Recipe(image=scene.image, **RECIPE), 3)

    def stop() -> None:
        if len(loop.results) == 1:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"Stopped in pass 2 of 3\. Run it again for the rest"):
        loop.run(stop)
    assert len(loop.results) == 1 and len(loop.run().results) == 3


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"passes": 0}, r"`passes` must be a whole number in \[1, 64\], got 0"),
        ({"curve": "lasy"}, r"`curve` must be one of linear, aggressive, lazy, got 'lasy'. Did you mean 'lazy'"),
        ({"final_strength": 0.0}, "at least one step"),
        ({"final_strength": 1.5}, r"`final_strength` must be a number in \[0, 1\], got 1.5"),
        ({"color_correction": "rgb"}, "one of none, lab"),
    ],
)
def test_bad_values_are_one_line(values: dict[str, Any], line: str, scene: Any) -> None:
    with pytest.raises(ParameterError, match=line):
        Loopback(Recipe(image=scene.image, **RECIPE), **values)
    with pytest.raises(ParameterError, match="`image` must be given for a loopback"):
        Loopback(Recipe(prompt="a cat"))
