"""Strengths at which the image changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdiffuse.families.step_rules import run_steps, strengths_by_steps
from nbdiffuse.recipes.steps import equivalent_strengths

pytestmark = pytest.mark.quick


@pytest.mark.parametrize("steps", [1, 2, 7, 30, 50, 100, 333, 1000])
def test_every_count_of_steps_has_one_detent(steps: int) -> None:
    assert [run_steps(steps, strength) for strength in strengths_by_steps(steps)] == list(range(1, steps + 1))
    assert list(strengths_by_steps(steps)) == sorted(set(strengths_by_steps(steps))) and strengths_by_steps(steps)[-1] == 1.0


def test_detents_are_numbers_a_person_would_type() -> None:
    assert strengths_by_steps(5) == (0.2, 0.4, 0.6, 0.8, 1.0)
    assert strengths_by_steps(50)[39] == 0.8 and strengths_by_steps(50)[28] == 0.59  # 50 * 0.58 is 28.999999999999996
    assert sum(len(str(strength)) > 4 for strength in strengths_by_steps(100)) == 2


@given(st.integers(1, 1000), st.floats(0, 1))
def test_the_detent_of_a_strength_runs_the_same_steps(steps: int, strength: float) -> None:
    count = run_steps(steps, strength)
    assert count == 0 or run_steps(steps, strengths_by_steps(steps)[count - 1]) == count


def test_a_span_names_the_strengths_that_draw_the_same_image() -> None:
    assert equivalent_strengths(20, 0.62) == (0.6, 0.64)
    assert equivalent_strengths(10, 0.8) == (0.8, 0.89)
