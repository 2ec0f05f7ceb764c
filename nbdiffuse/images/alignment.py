"""Alignment: how well a picture lies on another one, moved, zoomed and turned, and how it lies there better."""

from __future__ import annotations

import importlib
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

Array: TypeAlias = np.ndarray[Any, Any]
Similarity: TypeAlias = Array
"""Where a picture went: (a, b, x, y) take its point q, a complex number from its centre, to (a + bi) q + x + yi."""
STILL: Similarity = np.array([1.0, 0.0, 0.0, 0.0])
_SOFT = 0.35
"""Difference of two details from which on they count as two: what an edit redrew must not pull the rest."""
_FAINT = 0.1
"""Strength of the details around a pixel below which they say nothing."""
_ENOUGH = 0.005
"""Pixels by which a further step may still move a picture when it is taken to be at its place."""


def detail(image: Image.Image, size: tuple[int, int]) -> Array:
    """Return what stands out of a picture's surroundings, whatever its colours and its contrast are.

    Parameters
    ----------
    image
        RGB.
    size
        Width and height of what is returned, in pixels.

    Returns
    -------
    float32, of shape (height, width): about 1 for a detail as strong as those around it, and 0 where all is even.
    """
    blurred = importlib.import_module("scipy.ndimage").gaussian_filter
    small = image.convert("L")
    small = small if small.size == size else small.resize(size, Image.Resampling.BOX)
    grey = blurred(np.asarray(small, np.float32), 1.0)
    around = max(4.0, max(size) / 32)
    stands_out = grey - blurred(grey, around)
    found: Array = stands_out / (np.sqrt(blurred(stands_out**2, around)) + 4)
    return found


def brought_back(array: Array, where: Similarity, order: int = 1) -> Array:
    """Return an array as it is where a picture went, so that it lies on that picture; NaN beyond its border.

    Parameters
    ----------
    array
        Of shape (height, width).
    where
        See `Similarity`, in its pixels.
    order
        Of the splines between pixels, in [0, 5].
    """
    transform = importlib.import_module("scipy.ndimage").affine_transform
    a, b, x, y = where
    matrix = np.array([[a, b], [-b, a]])
    middle = (np.array(array.shape) - 1) / 2
    offset = middle + np.array([y, x]) - matrix @ middle
    found: Array = transform(array, matrix, offset, order=order, mode="constant", cval=np.nan)
    return found


def agreement(initial: Array, detail: Array, where: Similarity) -> float:
    """Return the share of a picture's details that another one has in their place, in [0, 1]; about 0.3 for strangers."""
    there = brought_back(detail, where)
    inside = ~np.isnan(there)
    weights = np.abs(initial) * inside
    # Two pictures that overlap in a corner agree by chance.
    overlap = float(weights.sum()) / (float(np.abs(initial).sum()) + 1e-6)
    alike = np.exp(-((np.where(inside, initial - there, 9) / _SOFT) ** 2) / 2)
    return float((weights * alike).sum() / (weights.sum() + 1e-6)) * min(1.0, 2 * overlap)


def agreement_map(initial: Array, detail: Array, where: Similarity, around: float) -> Array:
    """Return for each pixel the share of the details around it that another picture has in their place.

    Parameters
    ----------
    initial, detail, where
        As for `agreement`.
    around
        Standard deviation of what counts as around it, in pixels.

    Returns
    -------
    In [0, 1], of shape (height, width); where there is no detail, that of the nearest pixel that has some around it.
    """
    blurred = importlib.import_module("scipy.ndimage").gaussian_filter
    there = brought_back(detail, where)
    weights = np.where(np.abs(initial) > 0.3, np.abs(initial), 0)
    alike = np.exp(-((np.where(np.isnan(there), 9, initial - there) / _SOFT) ** 2) / 2)
    near = blurred(weights, around)
    share = blurred(weights * alike, around) / (near + 1e-6)
    if near.max() <= _FAINT:
        return np.zeros_like(share)
    nearest = importlib.import_module("scipy.ndimage").distance_transform_edt(
        near <= _FAINT, return_distances=False, return_indices=True
    )
    found: Array = share[tuple(nearest)]
    return found


def refined(initial: Array, detail: Array, where: Similarity, steps: int) -> Similarity:
    """Return a place near by in which a picture lies better on another one; parts that differ do not count.

    Parameters
    ----------
    initial, detail
        From `detail`, of one size.
    where
        Where to start.
    steps
        How often it is moved at the most.

    Notes
    -----
    Gauss-Newton with weights that fall with the difference. Source: Baker and Matthews, Lucas-Kanade 20 Years On, 2004.
    """
    down, right = np.mgrid[0 : initial.shape[0], 0 : initial.shape[1]].astype(np.float32)
    down, right = down - (initial.shape[0] - 1) / 2, right - (initial.shape[1] - 1) / 2
    own_slopes = np.gradient(initial)
    for step in range(steps):
        there = brought_back(detail, where)
        inside = ~np.isnan(there)
        if inside.mean() < 0.2:
            break
        there = np.where(inside, there, initial)
        slope_down, slope_right = ((one + other) / 2 for one, other in zip(np.gradient(there), own_slopes, strict=True))
        apart = initial - there
        alike = np.exp(-((apart / _SOFT) ** 2) / 2) if step > 2 else 1 / (1 + (apart / _SOFT) ** 2)
        turn = slope_down * right - slope_right * down
        slopes = np.stack([slope_right * right + slope_down * down, turn, slope_right, slope_down]).reshape(4, -1)
        weighted = slopes * (inside * alike).reshape(1, -1)
        normal = weighted @ slopes.T
        # Where nothing can be seen, such as in a picture of one colour, it stays.
        normal = normal + 1e-6 * (np.trace(normal) / 4 * np.diag([1, 1, 1e-3, 1e-3]) + np.eye(4))
        change = np.linalg.solve(normal, weighted @ apart.reshape(-1))
        where = _after(where, change)
        if abs(change[2]) + abs(change[3]) + (abs(change[0]) + abs(change[1])) * max(initial.shape) / 2 < _ENOUGH:
            break
    return where


def _after(where: Similarity, change: Similarity) -> Similarity:
    turned, moved = complex(where[0], where[1]), complex(where[2], where[3])
    both = turned * complex(1 + change[0], change[1])
    moved += turned * complex(change[2], change[3])
    return np.array([both.real, both.imag, moved.real, moved.imag])
