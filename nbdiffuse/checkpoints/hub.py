"""Fetch from the hub what a run takes and nothing else, and check every file against the hash that the hub gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import errors
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

from ..errors import CheckpointError
from ..families.families import FAMILIES
from ..families.recognition import recognise_directory
from ..files.hashes import git_blob_of, sha256_of
from ..recipes.presets import way_out_of
from .failures import OFFLINE, explain, free_space, no_space
from .layouts import SMALL, components_of, wanted
from .priors import combined_class

TIMEOUT = 20.0
"""Seconds that the hub may take to list a repository; without a bound the client waits for ever."""
CARD = "README.md"
"""Names the checkpoint that completes this one, where it is half of a pipeline."""


_LOCAL_ONLY = ContextVar("local_only", default=False)


@contextmanager
def without_network() -> Iterator[None]:
    """Take what is fetched inside this block, on this thread, from this disk alone."""
    token = _LOCAL_ONLY.set(True)
    try:
        yield
    finally:
        _LOCAL_ONLY.reset(token)


@dataclass(frozen=True)
class Snapshot:
    """Files of one commit on this disk.

    Parameters
    ----------
    directory
        In the hub client's cache; its name is the commit.
    verified
        Whether every file that a run takes was compared with its hash.
    notices
        What a person should know, one line each.
    """

    directory: Path
    verified: bool
    notices: tuple[str, ...]

    @property
    def commit(self) -> str:
        """The commit, 40 hexadecimal digits."""
        return self.directory.name


@dataclass(frozen=True)
class _Listing:
    """What a repository has: sizes in bytes by path; `directory` is set where only this disk could be asked."""

    repo: str
    revision: str | None
    commit: str
    sizes: Mapping[str, int]
    notices: tuple[str, ...]
    directory: Path | None = None


def fetch(repo: str, revision: str | None, half: bool, weights: bool = True) -> Snapshot:
    """Fetch a checkpoint in diffusers' layout.

    Parameters
    ----------
    repo, revision
        Hub id; branch, tag or commit, None for the default branch.
    half
        Prefer half-precision weights where there are both.
    weights
        Whether weights are taken too, and not only configs and tokenizers.

    Raises
    ------
    CheckpointError
        It cannot be fetched, is not whole, or is damaged.
    """

    def choose(listing: _Listing) -> list[str]:
        index = next((name for name in ("model_index.json", "config.json") if name in listing.sizes), None)
        if index is None:
            raise CheckpointError(_no_layout(repo, listing.sizes))
        directory = _get(listing, [index], listing.commit)
        _refuse_other_families(repo, directory)
        components = components_of(directory)
        names = wanted(listing.sizes, components, half)
        if weights:
            _refuse_a_part(listing, components, names)
            return names + [CARD] * (combined_class(directory) is not None and CARD in listing.sizes)
        return [name for name in names if not name.endswith((".safetensors", ".bin"))]

    return _fetch(repo, revision, choose)


_CLASSES = {name for family in FAMILIES.values() for name in family.pipelines.values()}
"""Pipeline classes that are run here."""


def _refuse_other_families(repo: str, directory: Path) -> None:
    """Refuse a pipeline of a family that is not run here, before its weights are fetched; a prior is a half of one that is."""
    found = recognise_directory(directory)
    if found is not None and not found.family and "Prior" not in found.what:
        if found.what.split()[-1] in _CLASSES:
            components_of(directory)  # a component is what it cannot be: that is the line to read
        raise CheckpointError(f"{repo} is {found.what}. {way_out_of(found)}")


def fetch_file(repo: str, revision: str | None, name: str) -> Snapshot:
    """Fetch one file.

    Parameters
    ----------
    repo, revision
        As in `fetch`.
    name
        Path of the file in the repository, with "/".

    Raises
    ------
    CheckpointError
        There is none, it cannot be fetched, or it is damaged.
    """

    def choose(listing: _Listing) -> list[str]:
        if name not in listing.sizes:
            raise CheckpointError(OFFLINE.format(name=repo) if listing.directory else f"{repo} has no file {name}.")
        return [name]

    return _fetch(repo, revision, choose)


def fetch_chosen(repo: str, revision: str | None, choose: Callable[[Sequence[str]], str]) -> tuple[Snapshot, str]:
    """Fetch the one file that is meant by a repository that is named without a file.

    Parameters
    ----------
    repo, revision
        As in `fetch`.
    choose
        Gets the names of the files that do not lie in a folder, none where the hub is out of reach and
        nothing is on this disk, and returns one of them.

    Returns
    -------
    The snapshot, and the file's name in it.

    Raises
    ------
    CheckpointError
        It cannot be fetched, or is damaged; and what `choose` raises.
    """
    taken: list[str] = []

    def one(listing: _Listing) -> list[str]:
        taken.append(choose(sorted(name for name in listing.sizes if "/" not in name)))
        return taken

    return _fetch(repo, revision, one), taken[0]


def _fetch(repo: str, revision: str | None, choose: Callable[[_Listing], list[str]]) -> Snapshot:
    failure: CheckpointError
    try:
        listing = _list(repo, revision)
        names = choose(listing)
        # Asked for by branch, so that the cache remembers which commit it is.
        directory = _get(listing, names, listing.revision)
    except CheckpointError:
        raise
    except Exception as error:  # the hub's client, network and disk raise unrelated classes
        failure = CheckpointError(explain(error, repo))
    else:
        return Snapshot(directory, _check(directory, names, repo), listing.notices)
    # Raised outside the `except`, so that the line does not hold what was half fetched.
    raise failure


def _list(repo: str, revision: str | None) -> _Listing:
    if _LOCAL_ONLY.get():
        return _on_disk(repo, revision, said=False)
    try:
        info = huggingface_hub.HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=TIMEOUT)
    except Exception as error:
        if not _unreachable(error):
            raise
        return _on_disk(repo, revision, said=not isinstance(error, errors.OfflineModeIsEnabled))
    notices = (f"{repo} is called {info.id} on the hub now.",) if info.id != repo else ()
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    return _Listing(repo, revision, str(info.sha), sizes, notices)


def _unreachable(error: BaseException) -> bool:
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        return status >= 500 or status == 429
    return isinstance(error, (httpx.TransportError, ConnectionError, TimeoutError))


def _on_disk(repo: str, revision: str | None, said: bool) -> _Listing:
    """List what the cache has; `said` leaves a notice."""
    index = ["model_index.json", "config.json"]
    found = huggingface_hub.snapshot_download(repo, revision=revision, local_files_only=True, allow_patterns=index)
    directory = Path(found)
    files = [file for pattern in ("*", "*/*") for file in directory.glob(pattern) if file.is_file()]
    sizes = {file.relative_to(directory).as_posix(): file.stat().st_size for file in files}
    line = f"The hub cannot be reached; {repo} is what this disk has, commit {directory.name[:8]}."
    return _Listing(repo, revision, directory.name, sizes, (line,) if said else (), directory)


def _refuse_a_part(listing: _Listing, components: Iterable[str], names: list[str]) -> None:
    """Refuse a cache that lacks a config, a tokenizer's file, or a model's weights."""
    if not listing.directory:
        return
    folders = [folder for folder in components if folder != "."]
    small = [f"{folder}/*{suffix}" for folder in folders for suffix in SMALL]
    # The client knows the commit's files where it listed them once, and raises for those that are not here.
    _get(listing, names, listing.revision, small)
    for prefix in [f"{folder}/" for folder in folders] or [""]:
        files = [name for name in names if name.startswith(prefix)]
        has_weights = any(name.endswith((".safetensors", ".bin")) for name in files)
        if not files or (f"{prefix}config.json" in files and not has_weights):
            raise CheckpointError(OFFLINE.format(name=listing.repo))


def _get(listing: _Listing, names: Sequence[str], revision: str | None, patterns: Sequence[str] = ()) -> Path:
    """Fetch the files that are not on this disk yet."""
    options: dict[str, Any] = {"revision": revision, "allow_patterns": [*map(_literal, names), *patterns]}
    if listing.directory:
        return Path(huggingface_hub.snapshot_download(listing.repo, local_files_only=True, **options))
    missing = [name for name in names if not _cached(listing, name)]
    needed = sum(listing.sizes[name] for name in missing)
    if needed > free_space():
        raise CheckpointError(no_space(listing.repo, needed))
    return Path(huggingface_hub.snapshot_download(listing.repo, **options))


def _cached(listing: _Listing, name: str) -> bool:
    return isinstance(huggingface_hub.try_to_load_from_cache(listing.repo, name, revision=listing.commit), str)


def _literal(name: str) -> str:
    """Make a path a pattern that matches only itself."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _check(directory: Path, names: Iterable[str], repo: str) -> bool:
    """Compare each file with the hash that names its blob, which the hub's client does not.

    Returns
    -------
    Whether all have such a name; a disk without links keeps files under their own names.
    """
    verified = True
    for name in names:
        blob = (directory / name).resolve()
        hash_of = {64: sha256_of, 40: git_blob_of}.get(len(blob.name))
        if hash_of is None:
            verified = False
        elif hash_of(blob) != blob.name:
            raise CheckpointError(f"{name} of {repo} is damaged: its hash is not the hub's. Delete {blob} and run again.")
    return verified


def _no_layout(repo: str, names: Iterable[str]) -> str:
    """Say what to do with a repository that has no diffusers layout."""
    single = sorted(name for name in names if name.endswith(".safetensors") and "/" not in name)
    line = f"{repo} has no model_index.json, so it is no diffusers checkpoint."
    return f"{line} Give one of its files: {repo}/{single[0]}." if single else f"{line} Choose one in diffusers' layout."
