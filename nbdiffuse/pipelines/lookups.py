"""Lookups: the checkpoint that a name stands for now; it is looked up again where its files changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from .. import embedded
from ..checkpoints import locate
from ..checkpoints.locate import Checkpoint
from ..errors import CheckpointError
from ..files.hashes import states_of
from ..files.paths import here
from ..files.snapshots import Snapshot
from ..recipes import lora

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class _Found:
    checkpoint: Checkpoint
    state: Any


class Lookups:
    """Find the checkpoint of a name, anew where its files changed by path, size, times or inode; used by one thread only.

    Parameters
    ----------
    half
        Tells whether files with half-precision weights are preferred.
    on_change
        Called with the identity of a checkpoint whose files have changed, and that no run uses any more.
    """

    def __init__(self, half: Callable[[], bool], on_change: Callable[[str], None] = lambda identity: None) -> None:
        self._half, self._on_change = half, on_change
        self._found: dict[str, _Found] = {}
        self._snapshot: Snapshot | None = None
        self._snapshots: WeakValueDictionary[int, Snapshot] = WeakValueDictionary()

    @contextmanager
    def held(self, snapshot: Snapshot | None = None) -> Iterator[None]:
        """Let every word stand for the same files inside this block; a block inside another one changes nothing.

        Parameters
        ----------
        snapshot
            What words stand for already; it is added to.
        """
        if self._snapshot is not None:
            yield
            return
        self._snapshot = Snapshot() if snapshot is None else snapshot
        self._snapshots[id(self._snapshot)] = self._snapshot
        try:
            yield
        finally:
            self._snapshot = None

    def get(self, word: str) -> Checkpoint:
        """Return the checkpoint that a word stands for.

        Raises
        ------
        CheckpointError
            There is none, or its files are damaged or refused.
        """
        key = _key(word)
        if self._snapshot is None:
            return self._look(word, key)
        if key not in self._snapshot:
            self._snapshot[key] = self._look(word, key)
        held: Checkpoint = self._snapshot[key]
        return held

    def kept(self, key: str, look: Callable[[], T]) -> T:
        """Return what `look` finds, inside `held` the same every time."""
        if self._snapshot is None:
            return look()
        if key not in self._snapshot:
            self._snapshot[key] = look()
        found: T = self._snapshot[key]
        return found

    def known(self, word: str) -> Checkpoint | None:
        """Return what a word stood for when it was last looked up, or None."""
        found = self._found.get(_key(word))
        return None if found is None else found.checkpoint

    def check_unchanged(self, checkpoint: Checkpoint) -> None:
        """Refuse a checkpoint whose files are others than when it was found: what was read of them has no name.

        Raises
        ------
        CheckpointError
            They are.
        """
        state = next((one.state for one in self._found.values() if one.checkpoint is checkpoint), None)
        if states_of(checkpoint.watched) == state:
            return
        # Others may have changed in the same directory than those that are read.
        if checkpoint.watched and self._find(checkpoint.name).identity != checkpoint.identity:
            raise CheckpointError(
                f"The files of {checkpoint.name} have changed since this run began. Run it again: that takes the new ones."
            )

    def forget(self, held: set[str]) -> None:
        """Forget what was found, but for the identities that are held."""
        self._found = {key: one for key, one in self._found.items() if one.checkpoint.identity in held}

    def _look(self, word: str, key: str) -> Checkpoint:
        before = self._found.get(key)
        if before is not None and states_of(before.checkpoint.watched) == before.state:
            return before.checkpoint
        found = self._find(word)
        # Looked at before the files are hashed for good, so that no change in between goes unseen.
        state = states_of(found.watched)
        found = self._find(word) if found.watched else found
        self._found[key] = _Found(found, state)
        if before is not None and before.checkpoint.identity != found.identity:
            self._leave(before.checkpoint.identity)
        return found

    def _find(self, word: str) -> Checkpoint:
        base, added = lora.split_text(word)
        # The base is found by itself: it stays when only a LoRA over it changes.
        known = self._look(base, _key(base)) if added else None
        return locate.locate(word, half=self._half(), base=known)

    def _leave(self, identity: str) -> None:
        now = [one.checkpoint for one in self._found.values()]
        pinned = [one for held in self._snapshots.values() for one in held.values() if isinstance(one, Checkpoint)]
        if all(one.identity != identity for one in (*now, *pinned)):
            self._on_change(identity)


def _key(word: str) -> str:
    """Return what a word stands for as long as the process lives: of paths on this disk, the whole paths."""
    base, added = lora.split_text(word)
    whole = _whole_path(base) if base not in embedded.names() else base
    return lora.joined_text(whole, [replace(one, file=_whole_path(one.file)) for one in added])


def _whole_path(word: str) -> str:
    path = here(word)
    return str(path.resolve()) if path is not None else word
