"""Strengths at which the image changes: between two of them, img2img runs the same steps and draws the same picture."""

from __future__ import annotations

from functools import lru_cache


def run_steps(num_inference_steps: int, strength: float) -> int:
    """Return how many steps of a schedule img2img runs; see `completion.real_steps`."""
    return min(int(num_inference_steps * strength), num_inference_steps)


@lru_cache(maxsize=64)
def detents(num_inference_steps: int) -> tuple[float, ...]:
    """Return a strength for each number of steps that img2img can run: from 1 to all of them.

    Parameters
    ----------
    num_inference_steps
        Length of the schedule, in [1, 1000] steps.

    Returns
    -------
    tuple of float
        Rising, in (0, 1]; the k-th, counted from 1, runs k steps, and is the shortest
        decimal that does.

    Examples
    --------
    >>> detents(5)
    (0.2, 0.4, 0.6, 0.8, 1.0)
    """
    return tuple(_shortest(num_inference_steps, count) for count in range(1, num_inference_steps + 1))


def _shortest(steps: int, count: int) -> float:
    units = (10**digits for digits in range(1, 7))
    # The product is taken in floating point, where 50 * 0.58 is a little less than 29.
    tried = (
        numerator / unit
        for unit in units
        for numerator in range(max(1, count * unit // steps - 1), min(unit, (count + 1) * unit // steps + 1) + 1)
    )
    return next(strength for strength in tried if run_steps(steps, strength) == count)


def span(num_inference_steps: int, strength: float) -> tuple[float, float]:
    """Return the lowest and the highest strength, in hundredths, that draw the same image as a strength in [0, 1]."""
    count = run_steps(num_inference_steps, strength)
    same = [hundredth / 100 for hundredth in range(101) if run_steps(num_inference_steps, hundredth / 100) == count]
    return (same[0], same[-1]) if same else (strength, strength)
