"""Where a checkpoint comes from and what identifies it: this package, a directory, or the hub.

Importing this module is what keeps diffusers from running code that a checkpoint names.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

# diffusers reads it when it is imported.
os.environ["DIFFUSERS_DISABLE_REMOTE_CODE"] = "1"

import diffusers
import huggingface_hub
import huggingface_hub.constants
from diffusers.utils import dynamic_modules_utils
from huggingface_hub import errors as hub
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]
from safetensors import SafetensorError

from . import embedded
from .errors import CheckpointError, did_you_mean
from .layouts import chosen_weights, components_of, pipeline_class_of
from .memory import format_size

# Where a notebook imported diffusers before this package, diffusers holds a copy made without the variable.
dynamic_modules_utils.DIFFUSERS_DISABLE_REMOTE_CODE = True

MOVED = {"runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5"}
"""Hub ids that are gone, and where the same weights are now."""

_HUB_ID = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True)
class Checkpoint:
    """One set of weights on this disk, and what identifies it.

    Parameters
    ----------
    name
        What it was asked for by.
    directory
        In diffusers' own layout.
    identity
        Embedded and local: sha256 over the files' sha256s. From the hub: "id@commit".
    verified
        Whether every file was compared with a hash that its publisher gave; a local
        directory has none, so there only structure, keys and finite values are checked.
    notices
        What a person should know, one line each.
    """

    name: str
    directory: Path
    identity: str
    verified: bool
    notices: tuple[str, ...] = ()


def find(word: str, half: bool = False) -> Checkpoint:
    """Find a checkpoint, fetch what is missing from the hub, and check its files.

    Parameters
    ----------
    word
        A name of the embedded family, a local directory, or a hub id, with
        "@revision" behind it where one is meant.
    half
        Prefer files with half-precision weights where there are both.

    Raises
    ------
    CheckpointError
        There is none, it cannot be fetched, or its files are damaged or refused.
    """
    if word in embedded.names():
        return Checkpoint(word, embedded.path(word), embedded.identity(word), verified=True)
    path = Path(word).expanduser()
    if path.is_dir():
        return Checkpoint(word, path, _identity_of(path, half), verified=False)
    if path.is_file():
        raise CheckpointError(
            f"{word} is a single file, and a directory is needed. Convert it with diffusers' `save_pretrained`."
        )
    asked = _HUB_ID.fullmatch(word)
    if asked is None:
        known = did_you_mean(word, embedded.names())
        raise CheckpointError(f"No checkpoint is called {word!r}: no embedded name, no directory, no hub id. {known}")
    return _from_hub(word, asked["id"], asked["revision"], half)


def _from_hub(name: str, repo: str, revision: str | None, half: bool) -> Checkpoint:
    notices = (f"{repo} has moved to {MOVED[repo]}.",) if repo in MOVED else ()
    repo = MOVED.get(repo, repo)
    try:
        directory = _download(repo, revision, half)
    except CheckpointError:
        raise
    except Exception as error:  # hub, network, disk and diffusers raise unrelated classes
        failure = CheckpointError(explain(error, repo))
    else:
        _check_blobs(directory, repo)
        return Checkpoint(name, directory, f"{repo}@{directory.name}", verified=True, notices=notices)
    # Raised outside the `except`, so that the line does not hold what was half fetched.
    raise failure


def _download(repo: str, revision: str | None, half: bool) -> Path:
    """Fetch what diffusers' own loader would fetch, and return the snapshot's directory, named by its commit."""
    try:
        index = Path(huggingface_hub.hf_hub_download(repo, "model_index.json", revision=revision))
    except (hub.RemoteEntryNotFoundError, hub.LocalEntryNotFoundError):
        # A ControlNet's repository is one model: a config and its weights.
        index = Path(huggingface_hub.hf_hub_download(repo, "config.json", revision=revision))
        pattern = ["config.json", "*.safetensors"]
        return Path(huggingface_hub.snapshot_download(repo, revision=index.parent.name, allow_patterns=pattern))
    components_of(index.parent)
    pipeline_class: Any = getattr(diffusers, pipeline_class_of(index.parent))
    variant = {"variant": "fp16"} if half else {}
    return Path(pipeline_class.download(repo, revision=index.parent.name, use_safetensors=True, **variant))


def _identity_of(directory: Path, half: bool) -> str:
    """Hash the files that a run takes: configs, tokenizer files, and the weights that are chosen."""
    digest = hashlib.sha256()
    for file in _files(directory, half):
        digest.update(f"{file.relative_to(directory).as_posix()}\0{_sha256(file)}\n".encode())
    return digest.hexdigest()


def _files(directory: Path, half: bool) -> Iterator[Path]:
    folders = [directory / name for name in components_of(directory)]
    for folder in sorted(folders):
        plain = {file for file in folder.glob("*") if file.is_file() and file.suffix in (".json", ".txt", ".model")}
        yield from sorted(plain | set(chosen_weights(folder, half)))
    if folders != [directory]:
        yield directory / "model_index.json"


def _sha256(file: Path) -> str:
    state = file.stat()
    return _hashed(file, state.st_size, state.st_mtime_ns, "sha256")


@cache
def _hashed(file: Path, size: int, changed: int, kind: str) -> str:
    """Hash a file once for each size and time of change; "blob" is git's sha1 with its header."""
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False) if kind == "blob" else hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def _check_blobs(directory: Path, repo: str) -> None:
    """Compare each file of a snapshot with the hash that names its blob; the hub's client does not."""
    for file in sorted(file for file in directory.rglob("*") if file.is_file()):
        blob = file.resolve()
        state = blob.stat()
        kind = {64: "sha256", 40: "blob"}.get(len(blob.name))
        if kind and _hashed(blob, state.st_size, state.st_mtime_ns, kind) != blob.name:
            shown = file.relative_to(directory).as_posix()
            raise CheckpointError(f"{shown} of {repo} is damaged: its hash is not the hub's. Delete {blob} and run again.")


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
        cached = Path(huggingface_hub.constants.HF_HUB_CACHE)
        there = next(folder for folder in (cached, *cached.parents) if folder.exists())
        free = format_size(shutil.disk_usage(there).free)
        return f"There is no space left for {name}: {cached} has {free} free. Make room, or set HF_HOME to another disk."
    said = " ".join(" ".join(str(one) for one in chain).split())
    for pattern, text in _WORDS:
        if re.search(pattern, said):
            return text.format(name=name)
    return f"The checkpoint {name} cannot be loaded: {type(error).__name__}: {' '.join(str(error).split())[:300]}"


_OFFLINE = (
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
    ((hub.OfflineModeIsEnabled, hub.LocalEntryNotFoundError), _OFFLINE),
    (
        (hub.EntryNotFoundError,),
        "{name} has no model_index.json, so it is no diffusers checkpoint. Choose one in diffusers' layout.",
    ),
    ((httpx.TransportError, ConnectionError, TimeoutError), _NETWORK),
    ((SafetensorError,), "A weights file of {name} is damaged. Fetch it again."),
)
_WORDS = (
    (
        r"necessary `safetensors` weights",
        "{name} has only pickled weights, which can run code. Choose one with .safetensors files.",
    ),
    (r"`variant=|\.fp16\.", "{name} does not have the half-precision files that were asked for. Load it without `variant`."),
    (r"not fully cached locally|no file named|connection error", _OFFLINE),
    (r"Consistency check failed", _NETWORK),
    (r"[Rr]emote code", "{name} wants to run code of its own, and that is refused. Choose a checkpoint that needs none."),
)
