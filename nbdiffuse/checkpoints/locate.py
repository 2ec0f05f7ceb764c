"""Where a checkpoint comes from and what identifies it: this package, a directory, a single file, or the hub.

Importing this module is what keeps diffusers from running code that a checkpoint names.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

# diffusers reads it when it is imported.
os.environ["DIFFUSERS_DISABLE_REMOTE_CODE"] = "1"

from diffusers.utils import dynamic_modules_utils

from .. import embedded
from ..errors import CheckpointError, breaks_rule, did_you_mean
from ..families.hub_ids import HUB_WORD, MOVED, parse_hub_id
from ..families.parameters import number_text
from ..families.single_file import single_file
from ..files.hashes import sha256_of
from ..files.paths import here
from ..recipes import lora
from ..recipes.presets import PRESETS
from . import layouts
from .adapter_files import LORA, locate_file
from .completeness import refuse_incomplete, what_was_taken
from .failures import cache_folder
from .failures import explain as explain
from .hub import fetch, fetch_file
from .layouts import components_of, wanted
from .lora_families import refuse_other_family
from .priors import combined_class, named_in_card
from .single_file import config_repo

# Where a notebook imported diffusers before this package, diffusers holds a copy made without the variable.
dynamic_modules_utils.DIFFUSERS_DISABLE_REMOTE_CODE = True


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
        Parts of a whole are joined with "+".
    verified
        Whether every file was compared with a hash that its publisher gave; a local
        directory has none, so there only structure, keys and finite values are checked.
    notices
        What a person should know, one line each.
    file
        All weights, where they are a single file; `directory` then gives only configs.
    connected
        Checkpoints whose components complete this one, by the prefix that they get.
    lora
        Files of LoRA that are added to the weights, each with its weight, and with that in the text encoders.
    part
        Component that `file` holds alone, such as "vae"; "" for a whole checkpoint.
    watched
        Files and directories of this disk that it was read from and that may change. What
        this package and the hub published does not.
    """

    name: str
    directory: Path
    identity: str
    verified: bool
    notices: tuple[str, ...] = ()
    file: Path | None = None
    connected: Mapping[str, Checkpoint] = field(default_factory=dict)
    lora: tuple[tuple[Path, float, float], ...] = ()
    part: str = ""
    watched: tuple[Path, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether its weights are files of this disk that no hub repository stands behind."""
        return "@" not in self.identity.partition("+")[0]


def locate(word: str, half: bool = False, base: Checkpoint | None = None) -> Checkpoint:
    """Find a checkpoint, fetch what is missing from the hub, and check its files.

    Parameters
    ----------
    word
        A name of the embedded family, a local directory or .safetensors file, a hub id,
        or a file in a hub repository such as "id/model.safetensors"; with "@revision"
        behind the last two where one is meant, and with LoRA as in `lora.joined_text`.
    half
        Prefer files with half-precision weights where there are both.
    base
        What the word without its LoRA stands for, where that is known.

    Raises
    ------
    CheckpointError
        There is none, it cannot be fetched, or its files are damaged or refused.
    """
    plain, added = lora.split_text(word)
    found = base or _located(plain, half)
    found = found if base or found.file else _joined(found, half)
    return replace(_with_lora(found, added), name=word) if added else found


def fetch_description(word: str) -> None:
    """Fetch the small files by which a checkpoint on the hub says what it is, where they are not on this disk.

    Raises
    ------
    CheckpointError
        There is no such checkpoint, or they cannot be fetched.
    """
    asked = None if word in embedded.names() or here(word) is not None else parse_hub_id(word)
    if asked is None or asked[2]:
        _located(word, half=False)  # the file itself tells which configs it goes with
    else:
        fetch(asked[0], asked[1], half=False, weights=False)


def _with_lora(found: Checkpoint, added: tuple[lora.Lora, ...]) -> Checkpoint:
    """Find LoRA files; their hashes and weights are part of what identifies the whole."""
    for one in added:
        file = locate_file(one.file, LORA)
        refuse_other_family(file.path, found.directory, found.name)
        identity = f"{found.identity}+{sha256_of(file.path)}:{number_text(one.weight)}"
        if one.in_text_encoders != one.weight:
            identity += f":{number_text(one.in_text_encoders)}"
        found = replace(
            found,
            identity=identity,
            lora=(*found.lora, (file.path, one.weight, one.in_text_encoders)),
            notices=(*found.notices, *file.notices),
            watched=(*found.watched, *file.watched),
        )
    return found


def _located(word: str, half: bool) -> Checkpoint:
    if word in embedded.names():
        return Checkpoint(word, embedded.path(word), embedded.identity(word), verified=True)
    path = here(word)
    if path is not None and path.is_dir():
        identity, notices = _identity_of(path, half), _taken_for(word, path)
        return Checkpoint(word, path, identity, verified=False, notices=notices, watched=(path.absolute(),))
    if path is not None and path.is_file():
        watched = (path.absolute(), path.absolute().with_suffix(""))
        return _with_configs(Checkpoint(word, path.parent, sha256_of(path), verified=False, file=path, watched=watched))
    return _on_hub(word, half)


def _taken_for(word: str, path: Path) -> tuple[str, ...]:
    """Say so where a directory is called like something of the hub's that a person may mean."""
    known = {preset.hub_checkpoint for preset in PRESETS.values()} | set(MOVED)
    cached = cache_folder() / f"models--{word.replace('/', '--')}"
    meant = word in known or (HUB_WORD.fullmatch(word) and cached.exists())
    return (f"{word} is the directory {path.resolve()} here, not the hub's.",) if meant else ()


def _on_hub(word: str, half: bool) -> Checkpoint:
    asked = HUB_WORD.fullmatch(word)
    if asked is None or (not asked["file"] and Path(word).suffix in (".safetensors", *layouts.PICKLES)):
        if word.startswith(("http://", "https://")):
            way_out = "Fetch the file and give its path, or name a hub id: ORG/NAME."
            raise CheckpointError(breaks_rule("checkpoint", "a name, a path or a hub id", word, way_out))
        known = did_you_mean(word, embedded.names())
        raise CheckpointError(f"No checkpoint is called {word!r}: no embedded name, no directory, no file, no hub id. {known}")
    repo = MOVED.get(asked["id"], asked["id"])
    notices = (f"{asked['id']} has moved to {repo}.",) if repo != asked["id"] else ()
    revision, name = asked["revision"] or asked["branch"], asked["file"]
    snapshot = fetch_file(repo, revision, name) if name else fetch(repo, revision, half)
    identity = f"{repo}@{snapshot.commit}"
    found = Checkpoint(word, snapshot.directory, identity, snapshot.verified, notices + snapshot.notices)
    if not name:
        return found
    return _with_configs(replace(found, file=snapshot.directory / name, identity=f"{identity}/{name}"))


def _with_configs(found: Checkpoint) -> Checkpoint:
    """Give a single file the configs that it goes with: those in a directory of its name beside it, else the hub's."""
    file = Path(str(found.file))
    repo, said = config_repo(file), single_file(file)
    beside = file.with_suffix("")
    has_configs = (beside / "model_index.json").is_file()
    lines = (said.said, "" if has_configs else said.guess) if said else ()
    found = replace(found, notices=found.notices + tuple(filter(None, lines)))
    if has_configs:
        return replace(found, directory=beside, identity=f"{found.identity}+{_identity_of(beside, half=False)}")
    try:
        snapshot = fetch(repo, None, half=False, weights=False)
    except CheckpointError as error:
        failure = CheckpointError(
            f"{found.name} is one file and needs the configs of {repo}. {error} Or put them into {beside}, in diffusers' layout."
        )
    else:
        return replace(found, directory=snapshot.directory, identity=f"{found.identity}+{repo}@{snapshot.commit}")
    raise failure


def _joined(found: Checkpoint, half: bool) -> Checkpoint:
    """Add the checkpoints that a model card names, and say where pickles are read."""
    if found.is_local:
        refuse_incomplete(found.directory, found.name)
    notices = found.notices + _pickled(found, half) + what_was_taken(found.directory, found.name, half)
    found = replace(found, notices=notices)
    if combined_class(found.directory) is None:
        return found
    # What a card on the hub names is on the hub, whatever this disk has under that name.
    locate = _on_hub if "@" in found.identity else _located
    connected = {prefix: locate(word, half) for prefix, word in named_in_card(found.directory, found.name).items()}
    others = tuple(connected.values())
    return replace(
        found,
        identity="+".join(one.identity for one in (found, *others)),
        verified=all(one.verified for one in (found, *others)),
        notices=notices + tuple(line for one in others for line in one.notices + _pickled(one, half)),
        connected=connected,
        watched=tuple(path for one in (found, *others) for path in one.watched),
    )


def _pickled(found: Checkpoint, half: bool) -> tuple[str, ...]:
    pickles = [file for file in _files(found.directory, half) if file.suffix in layouts.PICKLES]
    if not pickles:
        return ()
    names = ", ".join(file.relative_to(found.directory).as_posix() for file in pickles)
    return (f"{found.name} has pickled weights, read by torch's weights-only loader, which runs no code: {names}.",)


def weights_bytes(checkpoint: Checkpoint, item: int, half: bool) -> int:
    """Foresee how many bytes a checkpoint's weights will take, with those that complete it.

    Parameters
    ----------
    checkpoint
        From `find`.
    item, half
        As in `layouts.weights_bytes`.
    """
    if checkpoint.file is not None:
        return item * layouts.numbers_in(checkpoint.file)
    others = sum(weights_bytes(other, item, half) for other in checkpoint.connected.values())
    return layouts.weights_bytes(checkpoint.directory, item, half) + others


def _identity_of(directory: Path, half: bool) -> str:
    """Hash the files that a run takes: configs, tokenizer files, and the weights that are chosen."""
    digest = hashlib.sha256()
    for file in _files(directory, half):
        digest.update(f"{file.relative_to(directory).as_posix()}\0{sha256_of(file)}\n".encode())
    return digest.hexdigest()


def _files(directory: Path, half: bool) -> list[Path]:
    components = components_of(directory)
    for name in components:
        layouts.chosen_weights(directory / name, half)
    there = (file for pattern in ("*", "*/*") for file in directory.glob(pattern) if file.is_file())
    return [directory / name for name in wanted((file.relative_to(directory).as_posix() for file in there), components, half)]
