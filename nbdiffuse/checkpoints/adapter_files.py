"""Files of adapters: the one that a word means, in this directory, in a folder, or in a repository of the hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import embedded
from ..errors import CheckpointError
from ..families.hub_ids import HUB_WORD
from ..files.paths import here
from .failures import OFFLINE
from .hub import fetch_chosen, fetch_file


@dataclass(frozen=True, kw_only=True)
class AdapterKind:
    """A kind of adapter, as far as its files are concerned.

    Parameters
    ----------
    name
        What lines call it.
    suffixes
        Those that its files have.
    usual
        Names of the file that is meant where there are several, the first that is there.
    """

    name: str
    suffixes: tuple[str, ...] = (".safetensors",)
    usual: tuple[str, ...] = ()


LORA = AdapterKind(name="LoRA", usual=("pytorch_lora_weights.safetensors",))
EMBEDDING = AdapterKind(
    name="textual inversion",
    suffixes=(".safetensors", ".pt", ".bin"),
    usual=("learned_embeds.safetensors", "learned_embeds.bin"),
)


@dataclass(frozen=True)
class AdapterFile:
    """An adapter's file on this disk.

    Parameters
    ----------
    path
        Where it is.
    notices
        What a person should know, one line each.
    watched
        Files and directories that may change; what the hub published does not.
    """

    path: Path
    notices: tuple[str, ...] = ()
    watched: tuple[Path, ...] = ()


def locate_file(word: str, kind: AdapterKind) -> AdapterFile:
    """Find an adapter's file, and fetch it from the hub where it is not on this disk.

    Parameters
    ----------
    word
        A name of this package's, a file, a folder with one, "ORG/NAME/FILE", or a hub repository that holds one.
    kind
        Of which kind it is.

    Raises
    ------
    CheckpointError
        There is none, or several and none has the usual name; or it cannot be fetched.
    """
    if word in embedded.adapter_names():
        return AdapterFile(embedded.adapter_file(word))
    path = here(word) or Path(word)
    asked = None if path.exists() else HUB_WORD.fullmatch(word)
    if path.is_dir():
        chosen = path / _only(sorted(file.name for file in path.iterdir()), str(path), kind)
        return AdapterFile(chosen, _chosen(word, chosen, kind), (path.absolute(),))
    if asked and asked["file"]:
        snapshot = fetch_file(asked["id"], asked["revision"] or asked["branch"], asked["file"])
        return AdapterFile(snapshot.directory / asked["file"])
    if asked and path.suffix not in kind.suffixes:
        snapshot, name = fetch_chosen(asked["id"], asked["revision"] or asked["branch"], lambda names: _of_hub(names, word, kind))
        return AdapterFile(snapshot.directory / name, _chosen(word, Path(name), kind))
    if not path.is_file():
        raise CheckpointError(
            f"The {kind.name} {word} was not found: not a file here, not a hub file (ORG/NAME/FILE{kind.suffixes[0]})."
        )
    return AdapterFile(path, (), (path.absolute(),))


def _chosen(word: str, file: Path, kind: AdapterKind) -> tuple[str, ...]:
    return (f"The {kind.name} {word} is its file {file.name}.",)


def _of_hub(names: Sequence[str], word: str, kind: AdapterKind) -> str:
    if not names:
        raise CheckpointError(OFFLINE.format(name=word))
    return _only(names, word, kind)


def _only(names: Sequence[str], where: str, kind: AdapterKind) -> str:
    """Return the one file of a kind among names; `where` they are, for the line."""
    fitting = [name for name in names if name.endswith(kind.suffixes)]
    usual = [name for name in kind.usual if name in fitting]
    chosen = usual[:1] or fitting
    if len(chosen) == 1:
        return chosen[0]
    shown = ", ".join(chosen[:5]) + (f" and {len(chosen) - 5} more" if len(chosen) > 5 else "")
    has = f"{len(chosen)} files: {shown}" if chosen else f"no {' or '.join(kind.suffixes)} file"
    raise CheckpointError(f"{where} holds {has}. Name the {kind.name}'s file: {where}/FILE{kind.suffixes[0]}.")
