"""What a directory in diffusers' layout lacks, and what runs without it."""

from __future__ import annotations

from pathlib import Path

import diffusers

from ..errors import CheckpointError
from .layouts import PICKLES, chosen, components_of, holdings, pipeline_class_of, variant_of

_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model", "tokenizer_config.json")


def dispensable(directory: Path) -> list[str]:
    """Return the components that a checkpoint names, that are not there, and that its pipeline runs without.

    Source: diffusers `DiffusionPipeline._optional_components`.
    """
    if not (directory / "model_index.json").is_file():
        return []
    pipeline = getattr(diffusers, pipeline_class_of(directory), None)
    optional = getattr(pipeline, "_optional_components", ())
    absent = [name for name in components_of(directory) if not _is_there(directory / name)]
    return [name for name in absent if name in optional]


def _is_there(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def refuse_incomplete(directory: Path, name: str) -> None:
    """Refuse a directory of this disk that lacks something which a run needs.

    Parameters
    ----------
    directory
        In diffusers' layout.
    name
        What it was asked for by.

    Raises
    ------
    CheckpointError
        A component's folder, config or weights are not there; the line says what is.
    """
    let_go = dispensable(directory)
    for component, (library, class_name) in components_of(directory).items():
        folder = directory / component
        if component in let_go:
            continue
        shown = f"{component}/" if component != "." else "the directory"
        if not _is_there(folder):
            beside = holdings(one.name for one in directory.iterdir() if not one.name.startswith("."))
            way_out = "Copy it from where the checkpoint came from."
            raise CheckpointError(f"{name} has no {shown}, a {class_name}; it holds {beside}. {way_out}")
        names = [file.name for file in folder.iterdir() if file.is_file()]
        lacks = _lacks(names, library, class_name)
        if lacks:
            raise CheckpointError(f"{shown} of {name} {lacks}")


def _lacks(names: list[str], library: str, class_name: str) -> str:
    """Say what a component's folder lacks, as the end of a sentence; "" for nothing."""
    held = f"; it holds {holdings(names)}."
    if class_name.endswith("Scheduler"):
        return "" if "scheduler_config.json" in names else f"has no scheduler_config.json{held} Copy it from the original."
    if "Tokenizer" in class_name:
        return "" if set(names) & set(_TOKENIZER_FILES) else f"has no tokenizer's files{held} Copy them from the original."
    if "Extractor" in class_name or "Processor" in class_name:
        # One that reads texts and pictures has a config of both; transformers saved two files for it once.
        whole = {"preprocessor_config.json", "processor_config.json"} & set(names)
        return "" if whole else f"has no preprocessor_config.json{held} Copy it from the original."
    if "config.json" not in names:
        # What keeps its settings under another name is of a kind that is not known here: its library reads it.
        other = any(one.endswith("_config.json") for one in names)
        return "" if other else f"has no config.json{held} Copy it from the original."
    if chosen(names, half=False) or chosen(names, half=True):
        return ""
    # A pickle under another name is refused where weights are chosen, in its own words.
    usual = (
        "model.safetensors"
        if library == "transformers" or "SafetyChecker" in class_name
        else "diffusion_pytorch_model.safetensors"
    )
    weights = sorted(one for one in names if one.endswith((".safetensors", *PICKLES)))
    variants = sorted({variant_of(one) for one in weights} - {""})
    if len(variants) > 1:
        return f"has weights as {', '.join(variants)} and not as {usual}{held} Rename the ones that are meant to {usual}."
    if any(variants):
        return f"has its weights in parts without an index{held} Copy {usual}.index.json from the original."
    if weights:
        return f"has no {usual}{held} If {weights[0]} is this model's weights, rename it so."
    return f"has no weights: no {usual}{held} Copy them from the original."


def what_was_taken(directory: Path, name: str, half: bool) -> tuple[str, ...]:
    """Say which variant of weights is read where there is no other, and what is left out, one line each."""
    lines = []
    taken: dict[str, list[str]] = {}
    for component in components_of(directory):
        files = chosen((file.name for file in (directory / component).glob("*")), half)
        variant = variant_of(files[0]) if files else ""
        if variant and not (half and variant == "fp16"):
            taken.setdefault(variant, []).append(component)
    for variant, components in taken.items():
        lines.append(f"{name} has the weights of {', '.join(components)} only as {variant}: these are read.")
    absent = dispensable(directory)
    if absent:
        lines.append(f"{name} has no {' and no '.join(absent)}: it runs without.")
    return tuple(lines)
