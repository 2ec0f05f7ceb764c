"""Captions of a batch: each picture's is asked for once, and noted in the batch's folder."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from ..errors import ParameterError, breaks_rule
from ..files.paths import here
from ..images.picture import Picture
from ..sessions.session import Session

FILE = "captions.jsonl"


class Captions:
    """Return what pictures show, in words.

    Parameters
    ----------
    session
        Runs the model.
    checkpoint
        See `Session.caption`.
    folder
        Of the batch; need not be there.

    Raises
    ------
    ParameterError
        The checkpoint is no text.
    """

    def __init__(self, session: Session, checkpoint: str, folder: Path) -> None:
        if not isinstance(checkpoint, str) or not checkpoint.strip():
            rule = "a model of transformers that captions, such as Salesforce/blip-image-captioning-base"
            raise ParameterError(breaks_rule("captioner", rule, checkpoint))
        self._session, self._checkpoint, self._file = session, checkpoint, folder / FILE
        self._known: dict[str, str] | None = None

    @property
    def notice(self) -> str:
        """Who writes the captions, and whether something may be fetched for it."""
        fetched = "" if here(self._checkpoint) is not None else "; what of it is not on this disk is fetched from the hub"
        return f"{{caption}} is written by {self._checkpoint}{fetched}."

    def __call__(self, picture: Picture) -> str:
        """Return a picture's caption.

        Raises
        ------
        CheckpointError
            The model cannot be loaded, or writes no text.
        """
        if self._known is None:
            self._known = self._noted()
        if picture.address not in self._known:
            self._known[picture.address] = self._session.caption(picture, self._checkpoint)
            self._note(picture.address, self._known[picture.address])
        return self._known[picture.address]

    def _noted(self) -> dict[str, str]:
        found: dict[str, str] = {}
        with contextlib.suppress(OSError, UnicodeDecodeError):
            for line in self._file.read_text("utf-8").splitlines():
                # A line that a killed process left half written says nothing.
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    entry = json.loads(line)
                    if entry["captioner"] == self._checkpoint:
                        found[str(entry["image"])] = str(entry["caption"])
        return found

    def _note(self, address: str, text: str) -> None:
        entry = {"image": address, "captioner": self._checkpoint, "caption": text}
        # Where it cannot be written, it is asked for again.
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as file:
                file.write("\n" + json.dumps(entry, ensure_ascii=False) + "\n")
