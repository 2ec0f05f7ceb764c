"""`%diffuse families`: every family that runs here, and what it takes."""

from __future__ import annotations

import pytest

from nbdiffuse.families import table
from nbdiffuse.families.families import FAMILIES

pytestmark = pytest.mark.quick


def test_every_family_has_a_row_that_says_what_its_calls_take() -> None:
    rows = {row[0]: dict(zip(table.HEAD, row, strict=True)) for row in table.rows()}
    assert list(rows) == list(FAMILIES)
    for key, row in rows.items():
        said = ", ".join(row.values())
        for name in FAMILIES[key].fields - table._EVERYWHERE:
            assert name.startswith("control") or name in said, (key, name)
        assert ("without strength" in said) == ("strength" not in FAMILIES[key].fields)
        assert ("no negative_prompt" in said) == ("negative_prompt" not in FAMILIES[key].fields)
    assert rows["stable-diffusion-3"]["steps of N at strength s"] == "ceil(N × s)"
    assert rows["instruct-pix2pix"]["guidance"] == "guidance_scale 7.5, image_guidance_scale 1.5"
