"""`%diffuse`: what stays in memory and what names stand for, in tables a person reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.utils.capture import capture_output

from nbdiffuse import Recipe, Session
from nbdiffuse.errors import ParameterError
from nbdiffuse.magics.commands import models_table, pipelines_table, set_budget, unload, use
from nbdiffuse.magics.history_commands import read_file
from nbdiffuse.recipes import weights_source
from nbdiffuse.recipes.presets import PRESETS


@pytest.fixture(autouse=True)
def undone() -> Iterator[None]:
    yield
    weights_source.use(None)


@pytest.mark.quick
def test_every_preset_stands_in_the_table_with_its_weights() -> None:
    for source in ("embedded", "hub"):
        assert source in use(source)
        lines, _, note = models_table().partition("\n\n")
        head, *rows = lines.splitlines()
        assert len(rows) == len(PRESETS) and "download" in head and note.startswith("Downloads and memory are near")
        for preset, line in zip(PRESETS.values(), rows, strict=True):
            origin = preset.origin(source)
            assert preset.name in line and origin.checkpoint in line and origin.download in line and origin.memory in line


@pytest.mark.quick
def test_a_gated_preset_says_how_to_get_it_and_the_readme_says_the_same() -> None:
    from nbdiffuse.cells.reference import reference

    gated = [name for name, preset in PRESETS.items() if preset.hub.access]
    assert gated == ["sd35-medium", "flux-dev", "flux-schnell", "flux-krea", "flux-kontext-dev"]
    for text in (models_table(), reference()):
        for name in gated:
            repo = PRESETS[name].hub_checkpoint
            line = next(line for line in text.splitlines() if repo in line)
            assert f"gated: accept its terms at https://huggingface.co/{repo}, then run `hf auth login`" in line
            assert PRESETS[name].hub.download in line and PRESETS[name].hub.memory in line


@pytest.mark.quick
def test_a_choice_that_is_none_is_one_line() -> None:
    with pytest.raises(ParameterError, match=r"`use` must be one of embedded, hub, got 'huge'"):
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


def shell() -> Any:
    from IPython.core.interactiveshell import InteractiveShell

    running = InteractiveShell.instance()
    running.run_line_magic("load_ext", "nbdiffuse")
    return running


@pytest.mark.quick
@pytest.mark.parametrize("line", ["", "help", "--help"])
def test_without_a_command_every_command_is_shown(line: str) -> None:
    running = shell()
    with capture_output() as shown:
        running.run_line_magic("diffuse", line)
    text = shown.outputs[0].data["text/plain"]
    assert all(f"%diffuse {command}" in text for command in ("pipelines", "script NAME", "history", "verify"))


@pytest.mark.parametrize(
    ("line", "way_out"),
    [
        ("memory", "Here it is `%diffuse pipelines`."),
        ("clear", "Here it is `%diffuse unload`."),
        ("log", "Here it is `%diffuse history`."),
        ("compare a b", "Here it is `%diffuse diff`."),
        ("unlod", "Did you mean 'unload'?"),
        ("quux", "Known: budget, defaults, diff, families"),
        ("tokens --model sd15 --model comic a cat", "`--model` must be given once, got 'sd15' and 'comic'."),
        ("tokens --negative ugly a cat", "Here it is `--negative-prompt`."),
    ],
)
def test_a_command_of_another_name_is_answered_with_ours(line: str, way_out: str) -> None:
    with pytest.raises(ParameterError) as caught:
        shell().run_line_magic("diffuse", line)
    assert way_out in str(caught.value)
