"""How a plain diffusers program adds a LoRA that diffusers' own loader drops: LoHa, LoKr, DoRA, or names unknown to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ParameterError
from ..recipes.lora import Lora
from ..recipes.presets import preset_of
from ..recipes.recipe import Recipe
from .listing import Listing
from .statements import literal

_ENDS = ("lora_up.weight", "lora_down.weight", "lora_mid.weight", "lora_A.weight", "lora_B.weight", "alpha", "dora_scale")
_FACTORS = re.compile(r"\.(hada_(w[12]_[ab]|t[12])|lokr_(w[12](_[ab])?|t2))\Z")
_ORIGINAL = re.compile(r"(input|middle|output|double|single)_blocks?_\d|label_emb|time_embed_\d")
"""What only names of the original code have, which a program does not know."""


def is_added(file: Path, recipe: Recipe) -> bool:
    """Tell whether a file is one that diffusers' loader of a recipe's pipeline does not read in full."""
    import diffusers

    from ..checkpoints.layouts import shapes
    from ..checkpoints.lora_fusion import is_more_than_lora, is_read_here

    found = shapes(file)
    pipeline = getattr(diffusers, preset_of(recipe.model).pipeline(recipe))
    parts = pipeline._lora_loadable_modules
    if "unet" in parts or is_more_than_lora(found):
        return is_read_here(found)
    try:
        read = pipeline.lora_state_dict(str(file.parent), weight_name=file.name, use_safetensors=True, local_files_only=True)
    except Exception:  # each family's conversion raises its own
        return True
    others = ("lora_transformer_", "base_model.")
    return any(key.partition(".")[0] not in parts for key in read) or any(key.startswith(others) for key in found)


def add(listing: Listing, one: Lora, file: Path, recipe: Recipe) -> None:
    """Write the lines that add a file's sums to the weights of the program's pipeline, layer by layer.

    Raises
    ------
    ParameterError
        It holds more, or names layers as no program can find them.
    """
    import diffusers

    from ..checkpoints import lora_products
    from ..checkpoints.layouts import shapes

    found = shapes(file)
    known = all(key.endswith(tuple(f".{end}" for end in _ENDS)) or _FACTORS.search(key) for key in found)
    if not known or any(_ORIGINAL.search(key.replace(".", "_")) for key in found) or _has_config(file, found):
        line = f"`lora` must be one whose layers have diffusers' names where a program is written, got {file.name!r}."
        raise ParameterError(f"{line} Share the recipe instead: `result.recipe.to_json()`.")
    listing.use("torch")
    listing.use("torch", "Tensor")
    listing.use("collections.abc", "Mapping", "Sequence")
    listing.use("typing", "Any")
    listing.use("safetensors.torch", "load_file")
    for function in (lora_products._half, lora_products._change, lora_products._decomposed, lora_products.add_sums):
        listing.define(function)
    listing.add(f"sums = load_file({literal(file.resolve())})  # of kinds or names that diffusers does not load")
    parts = getattr(diffusers, preset_of(recipe.model).pipeline(recipe))._lora_loadable_modules
    for part in parts:
        scale = one.in_text_encoders if part.startswith("text_encoder") else one.weight
        listing.add(f"add_sums(pipeline.{part}, {literal(list(_heads(part)))}, sums, {literal(scale)})")


def _has_config(file: Path, found: Mapping[str, Any]) -> bool:
    """Whether PEFT says in a file beside it how much of it counts."""
    return any(key.startswith("base_model.") for key in found) and file.with_name("adapter_config.json").is_file()


def _heads(part: str) -> tuple[str, ...]:
    """Return how the names of a part's layers begin in files; a dot at the end keeps those within."""
    if part == "unet":
        return ("unet.", "base_model.model.", "lora_unet_", "lycoris_")
    if part == "transformer":
        return ("transformer.", "base_model.model.", "diffusion_model.", "lora_unet_", "lora_transformer_", "lycoris_", ".")
    kohya = ("lora_te_", "lora_te1_") if part == "text_encoder" else ("lora_te2_",)
    # transformers 5 dropped this level from one of the two classes.
    peft = ("base_model.model.", "base_model.model.text_model.") if part == "text_encoder" else ()
    return (f"{part}.", f"{part}.text_model.", *peft, *(head + level for head in kohya for level in ("", "text_model_")))
