"""The option reference in the documentation is made from the declarations, and is the one they make today."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbdiffuse.cells.flags import fields_of, flag
from nbdiffuse.cells.reference import reference
from nbdiffuse.recipes.presets import PRESETS

pytestmark = pytest.mark.quick

REFERENCE = Path(__file__).parents[1] / "nbdiffuse" / "docs" / "reference.md"


def test_the_page_holds_the_reference_that_the_declarations_make() -> None:
    _, _, rest = REFERENCE.read_text("utf-8").partition("<!-- made by `python -m nbdiffuse.cells.reference` -->\n\n")
    assert rest.partition("\n\n<!-- end -->")[0] == reference(), "put in what `python -m nbdiffuse.cells.reference` prints"


def test_the_reference_names_every_option_and_every_model() -> None:
    text = reference()
    assert all(f"`{flag(name)}`" in text for task in ("txt2img", "img2img") for name in fields_of(task))
    assert all(f"`{name}`" in text and preset.hub.checkpoint in text for name, preset in PRESETS.items())
