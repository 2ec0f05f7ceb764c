"""What Tab offers on every magic: options, choices, pictures, variables, presets of a chain's steps, commands and their words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nbdiffuse import Recipe
from nbdiffuse.magics.completion import words_for
from nbdiffuse.results import Result


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.png").touch()
    picture = Image.new("RGB", (8, 8))
    return {"start": picture, "made": Result(Recipe(prompt="a cat"), (picture,), None, 0.0), "number": 3, "_hidden": picture}


def offered(text: str, names: dict[str, Any]) -> list[str]:
    lines = text.split("\n")
    return words_for(text, (len(lines) - 1, len(lines[-1])), names)[0]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "there", "not_there"),
    [
        ("%diffuse ", ["models", "plan", "history", "mask"], ["diffuse"]),
        ("%diffuse op", ["optimize"], ["models"]),
        ("%diffuse use ", ["embedded", "hub"], []),
        ("%diffuse optimize ", ["attention", "offload"], []),
        ("%diffuse optimize offload ", ["model", "sequential"], ["attention"]),
        ("%diffuse unload sd", ["sd15", "sdxl"], ["comic"]),
        ("%diffuse script ", ["made"], ["start", "number"]),
        ("%diffuse panel ", ["made", "start", "photo.png", "example:penguin"], ["number", "_hidden"]),
        ("%diffuse read p", ["photo.png"], ["made"]),
        ("%%img2img st", ["start"], ["made"]),
        ("%%img2img example:p", ["example:penguin"], []),
        ("%%edit ", ["made", "start", "photo.png"], ["number"]),
        ("%%chain ", ["start", "example:cat"], []),
        ("%%chain start --", ["--out", "--save", "--strength"], []),
        ("%%chain start\n[", ["sd15", "comic", "pixel-art"], []),
        ("%%chain start\n[com", ["comic"], ["sd15"]),
        ("%%chain start\n[sd15]\na cat\n[comic --str", ["--strength"], []),
        ("%%chain start\n[comic --scheduler D", ["DDIM"], []),
        ("%%loopback start --pa", ["--passes"], []),
        ("%%loopback start --mod", ["--model"], []),
    ],
)
def test_tab_offers_what_may_stand_there(text: str, there: list[str], not_there: list[str], names: dict[str, Any]) -> None:
    words = offered(text, names)
    assert set(there) <= set(words) and not set(not_there) & set(words), words


@pytest.mark.quick
@pytest.mark.parametrize("text", ["%%txt2img ", "%%img2img start\n--str", "%%chain start\na cat", "x = 1", "%timeit "])
def test_tab_offers_nothing_where_words_are_a_persons_own(text: str, names: dict[str, Any]) -> None:
    assert offered(text, names) == []
