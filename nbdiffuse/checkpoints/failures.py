"""What went wrong while a checkpoint was fetched or read, in one line, with what to do next."""

from __future__ import annotations

import errno
import re
import shutil
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub import errors as hub
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]
from safetensors import SafetensorError

from ..devices.memory import format_size


def explain(error: BaseException, name: str) -> str:
    """Say in one line what went wrong while a checkpoint was fetched or read, and what to do next.

    Parameters
    ----------
    error
        What the hub's client, diffusers or safetensors raised; its causes are looked at too.
    name
        The checkpoint.
    """
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    for kinds, text in _LINES:
        if any(isinstance(one, kinds) for one in chain):
            return text.format(name=name)
    if any(isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT) for one in chain):
        return no_space(name)
    said = " ".join(" ".join(str(one) for one in chain).split())
    for pattern, text in _WORDS:
        if re.search(pattern, said):
            return text.format(name=name)
    return f"The checkpoint {name} cannot be loaded: {type(error).__name__}: {' '.join(str(error).split())[:300]}"


def explain_local(error: BaseException, name: str) -> str:
    """Say in one line what went wrong while a checkpoint of this disk was read; the hub has no part in it."""
    if isinstance(error, SafetensorError):
        return f"A weights file of {name} is damaged. Write or copy it again."
    said = " ".join(str(error).split())
    if re.search(_REMOTE_CODE, said):
        return explain(error, name)
    # What the libraries say after the first sentence is about the hub.
    first = re.split(r"(?<=[.!?]) |If you were trying", said)[0][:300].rstrip(".")
    return f"{name} cannot be read: {type(error).__name__}: {first}. Compare its folders with the original's, or copy it again."


def no_space(name: str, needed: int | None = None) -> str:
    """Say that the hub's cache is too small for a checkpoint that needs so many bytes more."""
    wanted = (
        f"There is no space for {name}, which needs {format_size(needed)}" if needed else f"There is no space left for {name}"
    )
    free = format_size(free_space())
    return f"{wanted}: {cache_folder()} has {free} free. Make room, or set HF_HOME to another disk."


def cache_folder() -> Path:
    """Return where the hub's client keeps what it fetches."""
    return Path(constants.HF_HUB_CACHE)


def free_space() -> int:
    """Return the bytes that the disk of the hub's cache has free."""
    folder = cache_folder()
    return shutil.disk_usage(next(one for one in (folder, *folder.parents) if one.exists())).free


OFFLINE = (
    "{name} is not complete on this disk, and the hub cannot be reached. Connect (and unset HF_HUB_OFFLINE), then run again."
)
_NETWORK = "The download of {name} broke off: the hub did not answer in full. Run again: finished files are kept."
_LINES: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    # GatedRepoError is a kind of RepositoryNotFoundError, so it comes first.
    ((hub.GatedRepoError,), "{name} is gated. Accept its terms at https://huggingface.co/{name}, then run `hf auth login`."),
    ((hub.DisabledRepoError,), "{name} was disabled on the hub. Choose another checkpoint, or a local directory."),
    (
        (hub.RepositoryNotFoundError,),
        "The hub has no {name}, or not for you. Check the name; if it is private, run `hf auth login`.",
    ),
    ((hub.RevisionNotFoundError,), "{name} does not have this revision. Give a branch, tag or commit that it has, or none."),
    ((hub.OfflineModeIsEnabled, hub.LocalEntryNotFoundError), OFFLINE),
    (
        (hub.EntryNotFoundError,),
        "{name} has no model_index.json, so it is no diffusers checkpoint. Choose one in diffusers' layout.",
    ),
    ((httpx.TransportError, ConnectionError, TimeoutError), _NETWORK),
    ((SafetensorError,), "A weights file of {name} is damaged. Fetch it again."),
)
_REMOTE_CODE = r"[Rr]emote code"
_WORDS = (
    (r"not fully cached locally|no file named|connection error", OFFLINE),
    (r"Consistency check failed", _NETWORK),
    (_REMOTE_CODE, "{name} wants to run code of its own, and that is refused. Choose a checkpoint that needs none."),
)
