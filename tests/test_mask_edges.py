"""Where the picture's own pixels are put back: a feather hides the seam, and what is black stays to the byte."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from mask_surfaces import QUICK, changed, on_every_surface, program, square, swept
from PIL import Image

from nbdiffuse import Recipe, Session, resolve
from nbdiffuse.embedded.world import sample
from nbdiffuse.embedded.world.holes import hole
from nbdiffuse.images.mask_edges import FEATHER, feathered, steep
from nbdiffuse.images.metrics import seam
from nbdiffuse.recipes.parts import Mask
from nbdiffuse.runs.loopback import Loopback


def test_a_feather_lies_inside_of_the_border() -> None:
    mask = square(box=(32, 32, 95, 95))
    row = np.asarray(feathered(mask, 4))[64]
    assert row[31:37].tolist() == [0, 0, 64, 128, 191, 255] and row[95:97].tolist() == [0, 0]
    # What lies at the picture's own edge has no seam there.
    whole = Image.new("L", (16, 16), 255)
    assert feathered(whole, 4).tobytes() == whole.tobytes()
    assert (np.asarray(feathered(mask, 4)) <= np.asarray(mask)).all() and steep(mask).tobytes() == mask.tobytes()


SHAPED = [{}, {"blur": 2.0}, {"blur": 6.0, "differential": True}, {"crop": 16}, {"crop": 8, "blur": 2.0, "content": "fill"}]


@pytest.mark.parametrize("shaped", SHAPED, ids=str)
def test_it_is_the_same_on_every_surface(shaped: dict[str, Any], session: Session, scene: Any, tmp_path: Path) -> None:
    mask = Mask(image=square(box=(32, 32, 95, 95)), overlay="feather", **shaped)
    recipe = resolve(Recipe(**QUICK, image=scene.image, mask=mask))
    made = on_every_surface(recipe, session, tmp_path)
    black = np.asarray(mask.shaped(square(box=(32, 32, 95, 95)))) == 0
    assert changed(made, scene.image, black) == 0 < changed(made, scene.image, ~black)


def test_overlays_are_swept_and_a_loopback_has_them(session: Session, scene: Any, tmp_path: Path) -> None:
    recipe = Recipe(**QUICK, image=scene.image, mask_image=square(box=(32, 32, 95, 95)))
    (tmp_path / "grid").mkdir()
    assert (
        len({image.tobytes() for image in swept(recipe, session, tmp_path / "grid", mask_overlay=("exact", "feather", "none"))})
        == 3
    )
    loop = Loopback(recipe.replace(mask_overlay="feather"), 2, color_correction="lab", session=session).run()
    assert list(program(loop, tmp_path / "program").values()) == [picture.tobytes() for picture in loop.pictures]


@pytest.mark.parametrize("crop", [None, 16])
def test_no_seam_shows(crop: int | None, session: Session) -> None:
    found: dict[str, list[float]] = {"exact": [], "feather": [], "own": []}
    for index in range(3):
        scene = sample(3_100_000 + index)
        mask = hole(scene, "subject", Random(f"h{index}"), "robot")
        values = {"prompt": "a robot", "num_inference_steps": 12, "strength": 1.0, "seed": 3}
        whole = session.run(Recipe(**values, image=scene.image, mask=Mask(image=mask, overlay="none", crop=crop))).image
        made = session.run(Recipe(**values, image=scene.image, mask=Mask(image=mask, overlay="feather", crop=crop))).image
        assert made.tobytes() == Image.composite(whole, scene.image, feathered(mask, FEATHER)).tobytes()
        exact = Image.composite(whole, scene.image, mask)
        for name, picture in (("exact", exact), ("feather", made), ("own", scene.image)):
            found[name].append(seam(picture, mask))
    mean = {name: float(np.mean(values)) for name, values in found.items()}
    assert mean["feather"] <= 1.2 * mean["own"] and mean["feather"] < 0.3 * mean["exact"]
