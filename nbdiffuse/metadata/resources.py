"""Checkpoint and LoRA of our own pictures in the words of AUTOMATIC1111: names and hashes, never a path of this machine."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PureWindowsPath
from typing import Any

from ..errors import FileError, ParameterError
from ..files.hashes import sha256_of
from ..files.paths import here, path_of
from ..recipes import lora
from ..recipes.portable import portable_embeddings, portable_loras, portable_word
from ..recipes.presets import PRESETS
from ..recipes.recipe import Recipe
from ..recipes.textual_inversion import TextualInversion

SUFFIXES = (".safetensors", ".ckpt", ".pt", ".bin")
_HUB = re.compile(r"\w[\w.\-]*(?:/\w[\w.\-]*){1,4}(?:@\w[\w.\-/]*)?", re.ASCII)
_HEADER = 8
_LARGEST_HEADER = 100_000_000


def checkpoint_name(recipe: Recipe) -> str:
    """Return what other tools call a complete recipe's checkpoint: its file's or its repository's name."""
    word = recipe.checkpoint or recipe.model
    return _stem(word if word in PRESETS else word.partition("@")[0]) or recipe.model


def entries(recipe: Recipe) -> dict[str, str]:
    """Return what our own reader needs in generation text to find checkpoint and LoRA again.

    Of one that lies on this machine no more than its name is said.
    """
    # A file that is not here is its repository's by the form of its word: the text is read where other files are.
    loras = [portable_loras([one], local=here(one.file) is not None)[0] for one in recipe.loras]
    said = {"LoRA": lora.text_of(loras)} if loras else {}
    inversions = [portable_embeddings([one], local=here(one.file) is not None)[0] for one in recipe.embeddings]
    said |= {"Embeddings": lora.JOINT.join(map(str, inversions))} if inversions else {}
    said |= {"VAE": portable_word(recipe.vae, here(recipe.vae) is not None)} if recipe.vae else {}
    preset = PRESETS.get(recipe.model)
    if recipe.checkpoint in {None, recipe.model, *([preset.embedded_checkpoint] if preset else ())}:
        return said
    said["Preset"] = recipe.model
    if is_on_hub(str(recipe.checkpoint)) and not Path(str(recipe.checkpoint)).exists():
        said["Checkpoint"] = str(recipe.checkpoint)
    return said


def is_on_hub(word: str) -> bool:
    """Whether a word has the form of a repository's id, perhaps with a file or a revision behind it."""
    return _HUB.fullmatch(word) is not None and ".." not in word


def lora_hashes(loras: Sequence[lora.Lora]) -> str:
    """Return what AUTOMATIC1111 writes as "Lora hashes", for those whose files are here."""
    return ", ".join(f"{_stem(one.file)}: {found}" for one in loras if (found := lora_hash(one.file)))


def networks(loras: Sequence[lora.Lora]) -> str:
    """Return how AUTOMATIC1111 names LoRA in a prompt, with a blank in front; empty without any."""
    return "".join(f" <lora:{_stem(one.file)}:{_weights(one)}>" for one in loras)


def _weights(one: lora.Lora) -> str:
    # The text encoder's comes first there.
    return f"{one.weight:g}" if one.in_text_encoders == one.weight else f"{one.in_text_encoders:g}:{one.weight:g}"


def model_hash(recipe: Recipe, identity: str) -> str | None:
    """Return the hash that AUTOMATIC1111 shows for a single file, from what the engine says the weights are; None for others."""
    digest = re.match("[0-9a-f]{64}", identity)
    single = str(recipe.checkpoint).partition("@")[0].endswith(SUFFIXES)
    return digest[0][:10] if digest and single else None


def lora_hash(file: str) -> str | None:
    """Return the hash by which AUTOMATIC1111 and Civitai know a LoRA; None where its file is not here.

    Notes
    -----
    Source: AUTOMATIC1111 `extensions-builtin/Lora/network.py`: 12 digits of the
    trainer's own hash of the weights, or of the sha256 of what stands behind the header.
    """
    try:
        path = path_of(file)
        state = path.stat()
        return _hashed(path, state.st_size, state.st_mtime_ns, state.st_ino)
    except (OSError, FileError):
        return None


@lru_cache(maxsize=256)
def _hashed(path: Path, size: int, changed: int, inode: int) -> str | None:
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(_HEADER))[0] if size >= _HEADER else size
        if length > min(size - _HEADER, _LARGEST_HEADER):
            return None
        header = json.loads(file.read(length))
        own: Any = header.get("__metadata__") if isinstance(header, dict) else None
        named = own.get("sshs_model_hash") if isinstance(own, dict) else None
        if isinstance(named, str) and re.fullmatch("[0-9a-f]{12,64}", named):
            return named[:12]
        digest = hashlib.sha256()
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()[:12]


def loras_of(text: str) -> tuple[lora.Lora, ...]:
    """Read what our own text names as LoRA; nothing where it is none."""
    try:
        return lora.read(text) if text else ()
    except ParameterError:
        return ()


def embedding_hashes(recipe: Recipe) -> str:
    """Return what AUTOMATIC1111 writes as "TI hashes", for textual inversions whose files are here."""
    files = ((one.token or one.stem, here(one.file)) for one in recipe.embeddings)
    return ", ".join(f"{name}: {sha256_of(path)[:12]}" for name, path in files if path is not None and path.is_file())


def embeddings_of(text: str) -> tuple[TextualInversion, ...]:
    """Read what our own text names as textual inversions; nothing where it is none."""
    try:
        return TextualInversion.several(text) if text else ()
    except ParameterError:
        return ()


def _stem(word: str) -> str:
    name = PureWindowsPath(word).name
    suffix = next((one for one in SUFFIXES if name.endswith(one)), "")
    return name.removesuffix(suffix)
