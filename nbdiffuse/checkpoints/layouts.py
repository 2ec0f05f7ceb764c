"""What a checkpoint's directory holds, read without importing or running anything that it names."""

from __future__ import annotations

import json
import math
import pickle
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ..errors import CheckpointError, breaks_rule

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pt2", ".pkl")
LIBRARIES = ("diffusers", "transformers", "stable_diffusion", "kandinsky", "kandinsky2_2", "stable_diffusion_xl")
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
        found: dict[str, Any] = {".": _single_model(config)}
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


def _single_model(config: dict[str, Any]) -> tuple[str, Any]:
    """Return the class of a single model: diffusers and transformers write it under different keys."""
    names = config.get("architectures")
    if "_class_name" not in config and isinstance(names, list) and names:
        return "transformers", names[0]
    return "diffusers", config.get("_class_name")


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
        raise CheckpointError(_not_a_checkpoint(file))
    try:
        content = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{file} is no valid JSON ({error}). Fetch the checkpoint again.") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} must hold an object, got {type(content).__name__}. Fetch the checkpoint again.")
    return content


def _not_a_checkpoint(missing: Path) -> str:
    """Say what a directory holds that is no checkpoint, and what to give in its place."""
    folder = missing.parent
    line = f"{folder} has no {missing.name}, so it is no diffusers checkpoint."
    if missing.name == "config.json" and not missing.exists():
        line = f"{folder} has no config.json and no model_index.json, so it is no diffusers checkpoint."
    singles = sorted(file.name for file in folder.glob("*.safetensors"))
    parts = sorted(
        one.name for one in folder.glob("*") if one.name in ("unet", "vae", "text_encoder", "scheduler", "transformer")
    )
    if (folder.parent / "model_index.json").is_file():
        return f"{line} It is a part of {folder.parent}: give that directory."
    if parts:
        return f"{line} It holds {', '.join(parts)}: copy model_index.json from where they came from."
    if singles:
        return f"{line} It holds {holdings(singles)}: give one file, such as {folder / singles[0]}."
    return f"{line} It holds {holdings(one.name for one in folder.glob('*'))}. Give one in diffusers' layout."


def holdings(names: Iterable[str]) -> str:
    """List what a folder holds, in one short line."""
    found = sorted(names)
    return (", ".join(found[:6]) + (f" and {len(found) - 6} more" if len(found) > 6 else "")) or "nothing"


SMALL = (".json", ".txt", ".model", ".jinja")
"""What configs, tokenizers and their chat templates are made of."""

_WEIGHTS = re.compile(
    r"(diffusion_pytorch_model|pytorch_model|model)(\.(?P<before>[a-z]\w*))?(?P<part>-\d+-of-\d+)?(\.(?P<after>[a-z]\w*))?"
    r"\.(safetensors|bin)"
)
_INDEX = re.compile(r".*\.(safetensors|bin)\.index(\.(?P<variant>\w+))?\.json")


def chosen(names: Iterable[str], half: bool) -> list[str]:
    """Choose one component's weights files as diffusers and transformers name them.

    Safetensors come before pickles, a set of parts with its index before a single file;
    another variant than half precision is taken where there is nothing else.

    Parameters
    ----------
    names
        Of the files in its folder.
    half
        Prefer half precision where there is a choice.

    Returns
    -------
    Names in order; none for a scheduler or a tokenizer, and where several variants are left.
    """
    names = list(names)
    others = sorted({variant_of(name) for name in names if _WEIGHTS.fullmatch(name)} - {"", "fp16", "bf16"})
    usual = ("fp16", "") if half else ("", "fp16")
    for variants in (usual, ("bf16", *(others if len(others) == 1 else ()))):
        for suffix in (".safetensors", ".bin"):
            for variant in variants:
                kept = _of_variant(names, suffix, variant)
                if kept:
                    return kept
    return []


def _of_variant(names: Sequence[str], suffix: str, variant: str) -> list[str]:
    indices = (_INDEX.fullmatch(name) for name in names if f"{suffix}.index" in name)
    in_parts = any(found is not None and (found["variant"] or "") == variant for found in indices)
    files = sorted(name for name in names if name.endswith(suffix) and _WEIGHTS.fullmatch(name) and variant_of(name) == variant)
    return [name for name in files if bool(_part(name)) == in_parts]


def variant_of(name: str) -> str:
    """Return the variant of a weights file, such as "fp16"; "" for none."""
    found = _WEIGHTS.fullmatch(name)
    return (found["before"] or found["after"] or "") if found else ""


def _part(name: str) -> str | None:
    found = _WEIGHTS.fullmatch(name)
    return found["part"] if found else None


def wanted(names: Iterable[str], components: Iterable[str], half: bool) -> list[str]:
    """Choose the files of a checkpoint that a run takes: its index, configs, tokenizer files and chosen weights.

    Parameters
    ----------
    names
        Of all its files, as paths with "/" from its directory.
    components
        Folders; "." for a single model.
    half
        As in `chosen`.
    """
    names = list(names)
    taken = {"model_index.json"} & set(names)
    for folder in components:
        prefix = "" if folder == "." else f"{folder}/"
        inside = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
        inside = [name for name in inside if "/" not in name]
        files = [name for name in inside if name.endswith(SMALL)] + chosen(inside, half)
        taken |= {f"{prefix}{name}" for name in files}
    return sorted(taken)


def chosen_weights(folder: Path, half: bool) -> list[Path]:
    """Choose the weights files of one component on this disk, see `chosen`.

    Raises
    ------
    CheckpointError
        There are only pickles of another kind than diffusers' own.
    """
    names = [file.name for file in folder.glob("*")]
    found = chosen(names, half)
    pickles = sorted(name for name in names if name.endswith(PICKLES))
    if not found and pickles:
        raise CheckpointError(f"{folder} has only {pickles[0]}, and a pickle can run code. Convert it to .safetensors.")
    return [folder / name for name in found]


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
    files = (file for name in components_of(directory) for file in chosen_weights(directory / name, half))
    return item * sum(map(numbers_in, files))


def numbers_in(file: Path) -> int:
    """Count the numbers in a weights file, from its header."""
    return sum(math.prod(shape) for shape in shapes(file).values())


def shapes(file: Path) -> dict[str, list[int]]:
    """Read which tensors a weights file holds, without their values: the shape of each, by key.

    Raises
    ------
    CheckpointError
        It is no weights file, not a whole one, or a pickle of anything but tensors.
    """
    if file.suffix in PICKLES:
        return {key: list(tensor.shape) for key, tensor in _tensors_of_pickle(file).items()}
    try:
        with safe_open(file, "pt") as opened:
            return {key: opened.get_slice(key).get_shape() for key in opened.keys()}  # noqa: SIM118  (it is no mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is damaged ({error}). Fetch it again.") from None


def _tensors_of_pickle(file: Path) -> dict[str, torch.Tensor]:
    """Open a pickle with torch's weights-only loader, which builds tensors and plain containers and calls nothing else."""
    try:
        # `mmap` takes only the zip format, so the older formats and their larger readers are out of reach.
        state = torch.load(file, map_location="meta", weights_only=True, mmap=True)
    except pickle.UnpicklingError:
        raise CheckpointError(f"{file} holds more than tensors and could run code, so it is not read.") from None
    except Exception as error:  # torch raises unrelated classes for what is no file of its own
        said = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{file} is damaged or of an old format ({said}). Fetch it again, or convert it.") from None
    if not isinstance(state, dict) or not all(isinstance(one, torch.Tensor) for one in state.values()):
        raise CheckpointError(f"{file} is no plain table of tensors, so it is not read. Convert it to .safetensors.")
    return state
