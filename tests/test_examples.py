"""Pictures that come with the package, by name."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from nbdiffuse import Picture, Recipe, embedded
from nbdiffuse.embedded.examples import EXAMPLES, MARK
from nbdiffuse.errors import ImageInputError


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_name_stands_for_a_scene_with_that_subject(name: str) -> None:
    picture = Picture.of(MARK + name)
    scene = embedded.world.sample(EXAMPLES[name])
    assert picture.image.tobytes() == scene.image.tobytes() and picture.label == MARK + name
    assert scene.subject == name.replace("-", " ")


def test_it_is_a_picture_wherever_one_is_taken_and_the_same_drawing_at_every_size() -> None:
    small, large = Recipe(image="example:penguin").image, Recipe(image="example:penguin@512").image
    assert isinstance(small, Picture) and isinstance(large, Picture)
    assert (small.size, large.size) == ((128, 128), (512, 512))
    shrunk = np.asarray(large.image.resize((128, 128), Image.Resampling.BOX), float)
    assert abs(shrunk - np.asarray(small.image, float)).mean() < 8


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("example:pengiun", "Did you mean 'example:penguin'?"),
        ("example:", "must be one of example:penguin"),
        ("example:penguin@0", r"a side in \[16, 2048\] pixels"),
        ("example:penguin@9999", "Write example:penguin@512"),
        ("example:penguin@", "Write example:penguin@512"),
        ("example:penguin@12.5", "Write example:penguin@512"),
    ],
)
def test_another_name_or_size_is_refused_in_one_line(text: str, line: str) -> None:
    with pytest.raises(ImageInputError, match=line) as caught:
        Picture.of(text)
    assert "\n" not in str(caught.value)
