"""Windows: which rows of a batch are read and run together, so that they share model calls and memory stays small."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .rows import Row

PIXELS = 64_000_000
"""Pixels of pictures that are read and run together, at most, where their headers tell them."""


def windows(rows: Sequence[Row], missing: Iterable[int], together: int) -> Iterator[list[int]]:
    """Yield the places of rows that are read and run together: of one size, as many as memory allows.

    Parameters
    ----------
    rows
        Of the batch.
    missing
        Places of those that are to be made.
    together
        Rows of a window, at most; with 1 they keep their order.
    """
    sources = {place: rows[place].source for place in missing}
    sizes = {place: None if source is None else source.size for place, source in sources.items()}
    if together > 1:
        # Rows of one model and one size share model calls.
        places = sorted(sizes, key=lambda place: (str(rows[place].values.get("model", "")), sizes[place] or (0, 0)))
    else:
        places = sorted(sizes)
    window: list[int] = []
    pixels = 0
    for place in places:
        width, height = sizes[place] or (0, 0)
        if window and (len(window) == together or pixels + width * height > PIXELS):
            yield window
            window, pixels = [], 0
        window.append(place)
        pixels += width * height
    if window:
        yield window
