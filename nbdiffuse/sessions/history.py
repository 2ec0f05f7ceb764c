"""History: the results of this session and of earlier kernels, newest last."""

from __future__ import annotations

import dataclasses
import datetime
import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from ..errors import ParameterError, breaks_rule
from ..families.parameters import number_text
from ..images.picture import content_address
from ..metadata.imported import visible
from ..metadata.provenance import Provenance
from ..recipes.mask_rules import told_of_mask
from ..recipes.notices import before_run
from ..recipes.recipe import Recipe
from ..recipes.sizes import fitted_picture, stretched, with_size_notices
from ..results import Result
from ..store.entries import Kept
from ..store.index import PictureIndex
from ..store.lineage import thumbnail_html
from ..store.store import Store
from .session import get_session

ROWS = 20
"""Results that a table shows, the newest."""
_THUMBNAIL = 64


@dataclass(frozen=True, eq=False)
class HistoryEntry:
    """One place of the timeline; the picture is read when it is asked for.

    Parameters
    ----------
    when
        Seconds since 1970 (UTC).
    said
        Recipe fields by name.
    held
        The result, where this session holds it.
    entry
        What the store's index says of it, where it does.
    """

    when: float
    said: dict[str, Any]
    held: Result | None = None
    entry: dict[str, Any] | None = None

    @property
    def date(self) -> str:
        """Local date and time, such as "2026-11-23 14:05"."""
        return datetime.datetime.fromtimestamp(self.when).strftime("%Y-%m-%d %H:%M")

    def answers(self, word: str) -> bool:
        """Whether a word is the model, the beginning of the date, or part of a prompt."""
        prompts = f"{self.said.get('prompt', '')}\n{self.said.get('negative_prompt', '')}".casefold()
        return word == self.said.get("model") or self.date.startswith(word) or word.casefold() in prompts


class History(Sequence[Result]):
    """Results of this session and of the store, newest last; looked up anew at every use.

    Parameters
    ----------
    words
        Only results that answer all of them: the name of a model, the beginning of a
        date such as "2026-11", or part of a prompt.
    store
        This user's when not given.
    """

    def __init__(self, words: Sequence[str] = (), store: Store | None = None) -> None:
        self.words = tuple(words)
        self._store = store

    def find(self, *words: str) -> History:
        """Return the results among these that answer further words."""
        return History((*self.words, *words), self._store)

    def __len__(self) -> int:
        return len(self._entries())

    @overload
    def __getitem__(self, index: int) -> Result: ...
    @overload
    def __getitem__(self, index: slice) -> list[Result]: ...
    def __getitem__(self, index: int | slice) -> Result | list[Result]:
        entries = self._entries()
        if isinstance(index, slice):
            return list(self._still_there(entries[index]))
        if not -len(entries) <= index < len(entries):
            rule = f"in [{-len(entries)}, {len(entries) - 1}]" if entries else "left out: there is no result yet"
            # IndexError is what ends a loop over a sequence.
            raise NoSuchResult(breaks_rule("index", rule, index))
        result = self._result(entries[index])
        if result is None:
            rule = "`index` must be of a result that is still there"
            raise ParameterError(f"{rule}: the store lost this one, or holds another. Look again.")
        return result

    def __iter__(self) -> Iterator[Result]:
        return self._still_there(self._entries())

    def _still_there(self, entries: Sequence[HistoryEntry]) -> Iterator[Result]:
        """Yield results; one that another kernel deleted, or whose file is damaged, does not keep the others away."""
        return (result for one in entries if (result := self._result(one)) is not None)

    def _entries(self) -> list[HistoryEntry]:
        found: dict[tuple[str, str], HistoryEntry] = {}
        for entry in self._kept_in().entries():
            if isinstance(entry.get("recipe"), dict) and _is_time(entry.get("time")):
                key = str(entry.get("picture", entry["key"])), str(sorted(entry["recipe"].items()))
                found[key] = HistoryEntry(float(entry["time"]), entry["recipe"], None, entry)
        for result in list(get_session().history):
            said = result.provenance.recipe.to_dict()
            key = content_address(result.image), str(sorted(said.items()))
            found[key] = HistoryEntry(result.when, said, result, found[key].entry if key in found else None)
        entries = sorted(found.values(), key=lambda one: one.when)
        return [one for one in entries if all(map(one.answers, self.words))]

    def _kept_in(self) -> Store:
        return self._store or Store()

    def _result(self, one: HistoryEntry) -> Result | None:
        loaded = self._kept_in().load(one.entry) if one.entry else None
        if one.held is not None:
            # The store knows the whole chain where the session holds its steps one by one.
            chain = one.held.chain or (loaded[1].chain if loaded else None)
            return one.held if chain is one.held.chain else dataclasses.replace(one.held, chain=chain)
        if loaded is None:
            return None
        return result_of(*loaded, one.when, PictureIndex(self._kept_in()))

    def __repr__(self) -> str:
        entries = self._entries()
        lines = [f"{index:>4}  {one.date}  {_said(one)}" for index, one in self._last(entries)]
        return "\n".join([self._head(entries), *lines])

    def _last(self, entries: list[HistoryEntry]) -> Iterator[tuple[int, HistoryEntry]]:
        """Yield the newest results with the index that finds them, the newest first."""
        return ((index - len(entries), entries[index]) for index in reversed(range(max(0, len(entries) - ROWS), len(entries))))

    def _head(self, entries: list[HistoryEntry]) -> str:
        asked = f" for {' '.join(self.words)!r}" if self.words else ""
        count = f"{len(entries)} result{'' if len(entries) == 1 else 's'}{asked}"
        return count if len(entries) <= ROWS else f"{count}; the newest {ROWS}"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": self.to_html(), "text/plain": repr(self)}

    def to_html(self) -> str:
        """Return HTML without scripts, in the colours of the page it stands in."""
        entries = self._entries()
        rows = "".join(f"<tr>{self._row(index, one)}</tr>" for index, one in self._last(entries))
        head = html.escape(self._head(entries), quote=True)
        return f"<div>{head}<table style='border-collapse:collapse;margin:.4em 0'>{rows}</table></div>"

    def _row(self, index: int, one: HistoryEntry) -> str:
        loaded = None if one.held else self._kept_in().load(one.entry or {})
        image = one.held.image if one.held else loaded[0].image if loaded else None
        cells = [str(index), one.date, *map(html.escape, _said(one).split("  ", 1))]
        shown = "".join(f"<td style='{_CELL}'>{cell}</td>" for cell in cells)
        return f"<td style='{_CELL}'>{thumbnail_html(image, _THUMBNAIL)}</td>{shown}"


def _is_time(value: Any) -> bool:
    """Whether a value is a time that a date can be made of: seconds since 1970, before the year 9000."""
    return isinstance(value, (int, float)) and 0 <= value < 2.2e11


class NoSuchResult(ParameterError, IndexError):
    """The timeline has no result at this index."""


_CELL = "text-align:left;padding:.2em .7em;background:none;border:0;border-bottom:1px solid rgba(128,128,128,.3)"


def _said(one: HistoryEntry) -> str:
    said = one.said
    prompt = " ".join(str(said.get("prompt", "")).split())
    prompt = prompt if len(prompt) <= 60 else prompt[:59] + "…"
    start = "".join(f", {name} {number_text(said[name])}" for name in ("strength", "noise") if isinstance(said.get(name), float))
    return visible(f"{said.get('model', '')}  {prompt or '(no prompt)'}{start}, seed {said.get('seed')}")


def result_of(kept: Kept, provenance: Provenance, when: float, picture_index: PictureIndex) -> Result:
    """Return what the store holds as a result; its pictures are those that the picture index finds."""
    recipe = stretched(with_pictures(provenance.recipe, picture_index))
    recipe = told_of_mask(with_size_notices(recipe, recipe))
    initial = recipe.image
    return Result(
        recipe=recipe,
        images=(kept.image,),
        initial=fitted_picture(recipe, "image") if initial is not None and initial.at_hand else None,
        seconds=kept.seconds,
        fingerprint=provenance.fingerprint,
        notices=(*before_run(recipe), *kept.notices),
        chain=provenance.chain,
        when=when,
    )


def with_pictures(recipe: Recipe, picture_index: PictureIndex) -> Recipe:
    """Return a recipe that holds the pixels of its pictures, where the picture index finds them."""
    found = {name: picture_index.picture(picture.address) for name, picture in recipe.pictures.items()}
    return recipe.replace(**{name: picture for name, picture in found.items() if picture is not None})


history = History()
"""What this session and earlier kernels made."""
