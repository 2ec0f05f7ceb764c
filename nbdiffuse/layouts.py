"""What a checkpoint's directory holds, read without importing or running anything that it names."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from .errors import CheckpointError, breaks_rule

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pt2", ".pkl")
LIBRARIES = ("diffusers", "transformers", "stable_diffusion", "kandinsky2_2", "stable_diffusion_xl")
"""Where a component's class may come from; the last ones are folders of `diffusers.pipelines`."""


def components_of(directory: Path) -> dict[str, tuple[str, str]]:
    """Read which class each component has.

    Parameters
    ----------
    directory
        With a `model_index.json`, or with the `config.json` of a single model.

    Returns
    -------
    (library, class name) by folder; the folder is "." for a single model.

    Raises
    ------
    CheckpointError
        It is no diffusers checkpoint, or names code of its own.
    """
    index = directory / "model_index.json"
    if not index.exists():
        config = _read(directory / "config.json")
        found: dict[str, Any] = {".": ("diffusers", config.get("_class_name"))}
    else:
        config = _read(index)
        found = {
            name: tuple(entry)
            for name, entry in config.items()
            if isinstance(entry, list) and not name.startswith("_") and entry[:1] != [None]
        }
    _refuse_code(directory, "_class_name", config.get("_class_name"))
    for name, entry in found.items():
        if name != "." and not name.isidentifier():
            raise CheckpointError(
                breaks_rule("model_index.json", "made of component names", name, "It is no diffusers checkpoint.")
            )
        if len(entry) != 2 or entry[0] not in LIBRARIES or not isinstance(entry[1], str):
            way_out = "A checkpoint that brings code of its own is not loaded."
            raise CheckpointError(breaks_rule(name, "a class of diffusers or transformers", list(entry), way_out))
        _refuse_code(directory, f"{name}/config.json: auto_map", _auto_map(directory / name))
    return found


def pipeline_class_of(directory: Path) -> str:
    """Return the name of the diffusers pipeline that a checkpoint was saved from."""
    return str(_read(directory / "model_index.json").get("_class_name"))


def _refuse_code(directory: Path, field: str, value: object) -> None:
    if value is not None and not (isinstance(value, str) and value.isidentifier()):
        way_out = f"{directory} brings code of its own, and that is not run."
        raise CheckpointError(breaks_rule(field, "the name of a class", value, way_out))


def _auto_map(folder: Path) -> object:
    config = folder / "config.json"
    return _read(config).get("auto_map") if config.exists() else None


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise CheckpointError(
            f"{file.parent} has no {file.name}, so it is no diffusers checkpoint. Give one in diffusers' layout."
        )
    try:
        content = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{file} is no valid JSON ({error}). Fetch the checkpoint again.") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} must hold an object, got {type(content).__name__}. Fetch the checkpoint again.")
    return content


def chosen_weights(folder: Path, half: bool) -> list[Path]:
    """Choose the weights files of one component: safetensors, of the wanted precision where there is a choice.

    Returns
    -------
    Files in order; none for a scheduler or a tokenizer.

    Raises
    ------
    CheckpointError
        There are only pickles.
    """
    files = sorted(folder.glob("*.safetensors"))
    halves = [file for file in files if ".fp16" in file.name]
    full = [file for file in files if file not in halves]
    chosen = (halves or full) if half else (full or halves)
    pickles = [file.name for file in folder.glob("*") if file.suffix in PICKLES]
    if not chosen and pickles:
        raise CheckpointError(f"{folder} has only {pickles[0]}, and a pickle can run code. Convert it to .safetensors.")
    return chosen


def weights_bytes(directory: Path, item: int, half: bool) -> int:
    """Foresee how many bytes a checkpoint's weights will take.

    Parameters
    ----------
    directory
        The checkpoint.
    item
        Bytes of one number in memory: 4 for float32, 2 for float16.
    half
        Whether half-precision files are preferred.
    """
    return item * sum(numbers for name in components_of(directory) for numbers in _numbers(directory / name, half))


def _numbers(folder: Path, half: bool) -> Iterator[int]:
    for file in chosen_weights(folder, half):
        yield from (math.prod(shape) for shape in shapes(file).values())


def shapes(file: Path) -> dict[str, list[int]]:
    """Read the header of a weights file: the shape of each tensor, by key.

    Raises
    ------
    CheckpointError
        It is no safetensors file, or not a whole one.
    """
    try:
        with safe_open(file, "pt") as opened:
            return {key: opened.get_slice(key).get_shape() for key in opened.keys()}  # noqa: SIM118  (it is no mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is damaged ({error}). Fetch it again.") from None
