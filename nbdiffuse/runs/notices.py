"""Notices of several runs: each line once, with how many it is true of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def counted(groups: Sequence[Sequence[str]], noun: str) -> tuple[str, ...]:
    """Return each line once, with how many of the runs it is said of.

    Parameters
    ----------
    groups
        The lines of each run.
    noun
        What the runs are called, in the plural.
    """
    counts = Counter(line for group in groups for line in dict.fromkeys(group))
    if len(groups) == 1:
        return tuple(counts)
    return tuple(
        f"{f'All {count}' if count == len(groups) else f'{count} of {len(groups)}'} {noun}: {line}"
        for line, count in counts.items()
    )


def numbered(groups: Sequence[Sequence[str]], noun: str) -> tuple[str, ...]:
    """Return each line once, with the numbers of the runs that it is said of, from 1; `noun` is in the singular."""
    places: dict[str, list[int]] = {}
    for number, group in enumerate(groups, start=1):
        for line in dict.fromkeys(group):
            places.setdefault(line, []).append(number)
    return tuple(
        f"{noun}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}: {line}" for line, numbers in places.items()
    )
