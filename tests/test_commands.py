"""`%diffuse`: what stays in memory and what names stand for, in tables a person reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nbdiffuse import Recipe, Session
from nbdiffuse.errors import ParameterError
from nbdiffuse.magics.commands import models_table, pipelines_table, set_budget, unload, use
from nbdiffuse.magics.inquiries import read_file
from nbdiffuse.recipes import origins
from nbdiffuse.recipes.presets import PRESETS


@pytest.fixture(autouse=True)
def undone() -> Iterator[None]:
    yield
    origins.use(None)


def test_every_preset_stands_in_the_table_with_its_weights() -> None:
    for source in ("tiny", "hub"):
        assert source in use(source)
        lines = models_table().splitlines()
        assert len(lines) == 1 + len(PRESETS)
        for preset, line in zip(PRESETS.values(), lines[1:], strict=True):
            assert preset.name in line and preset.origin(source).checkpoint in line


def test_a_choice_that_is_none_is_one_line() -> None:
    with pytest.raises(ParameterError, match=r"`use` must be one of tiny, hub, got 'huge'"):
        use("huge")


def test_what_is_loaded_is_a_line_and_can_go(session: Session) -> None:
    session.run(Recipe(prompt="a cat", num_inference_steps=1, seed=1))
    head, *rows = pipelines_table().splitlines()
    assert head.split()[:2] == ["checkpoint", "size"]
    assert any(row.startswith("sd15 ") and "StableDiffusionPipeline" in row for row in rows)
    assert "MB freed" in unload("sd15")
    assert set_budget("auto") == "budget: what the device has free"


def test_reading_a_file_inserts_its_cell(tmp_path: Path) -> None:
    import strangers

    inserted: list[str] = []

    class Shell:
        def set_next_input(self, text: str) -> None:
            inserted.append(text)

    reading = read_file(Shell(), str(strangers.png(tmp_path / "x.png", parameters=strangers.a1111())))
    assert inserted == [reading.cell()]
    assert "--seed 965400086" in inserted[0] and inserted[0].endswith("\na cat")
