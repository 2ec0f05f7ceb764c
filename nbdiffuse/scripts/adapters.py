"""How a plain diffusers program loads what is brought along besides the checkpoint: LoRA, IP-Adapters, textual inversions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .. import embedded
from ..errors import ParameterError, breaks_rule
from ..families.description import directory_of
from ..families.hub_ids import cached, parse_hub_id
from ..families.parameters import number_text
from ..files.paths import here
from ..recipes.fields import numbered
from ..recipes.ip_adapter import groups, to_load
from ..recipes.lora import Lora, unfused
from ..recipes.portable import is_hub_id
from ..recipes.presets import preset_of
from ..recipes.recipe import Recipe
from . import lora_sums
from .embedded_folders import embedded_folder
from .listing import Listing
from .statements import call, literal


def load(listing: Listing, recipe: Recipe) -> None:
    """Write the lines that load a complete recipe's LoRA, IP-Adapters and textual inversions into the program's pipeline.

    Raises
    ------
    ParameterError
        diffusers' own loader does not read one of them in full.
    """
    for one in (one for one in recipe.loras if one.fused is not False):
        held = _whole(one.file)
        if held is not None and lora_sums.is_added(held, recipe):
            lora_sums.add(listing, one, held, recipe)
            continue
        listing.add(f"pipeline.load_lora_weights({', '.join(file_arguments(listing, one.file))})")
        listing.add(*_fuse(one, recipe))
        listing.add("pipeline.unload_lora_weights()  # they are in the weights now")
    beside = unfused(recipe.loras)
    for number, one in beside:
        given = [*file_arguments(listing, one.file), f'adapter_name="lora_{number}"']
        listing.add(f"pipeline.load_lora_weights({', '.join(given)})")
    if beside:
        names, weights = [f"lora_{number}" for number, _ in beside], [_scales(one, recipe) for _, one in beside]
        listing.add(*call("pipeline.set_adapters", [literal(names), literal(weights)]))
    if recipe.ip_adapters:
        _load_ip_adapters(listing, recipe)
    for inversion in recipe.embeddings:
        if recipe.weighs:
            _refuse_several_vectors(inversion.file)
        _load_words(listing, inversion.file, inversion.token)


def _fuse(one: Lora, recipe: Recipe) -> list[str]:
    """Return the lines that add a LoRA to the weights, the text encoders' for themselves where they get another part of it."""
    if one.in_text_encoders == one.weight:
        return [f"pipeline.fuse_lora({'' if one.weight == 1 else f'lora_scale={number_text(one.weight)}'})"]
    scales = _by_part(one, recipe)
    parts = {scale: [part for part, own in scales.items() if own == scale] for scale in scales.values()}
    return [f"pipeline.fuse_lora(components={literal(held)}, lora_scale={number_text(s)})" for s, held in parts.items()]


def _scales(one: Lora, recipe: Recipe) -> float | dict[str, float]:
    """Return what diffusers' `set_adapters` is given for a LoRA beside the weights."""
    return one.weight if one.in_text_encoders == one.weight else _by_part(one, recipe)


def _by_part(one: Lora, recipe: Recipe) -> dict[str, float]:
    import diffusers

    parts = getattr(diffusers, preset_of(recipe.model).pipeline(recipe))._lora_loadable_modules
    return {part: one.in_text_encoders if part.startswith("text_encoder") else one.weight for part in parts}


def _load_ip_adapters(listing: Listing, recipe: Recipe) -> None:
    """Write the lines that load IP-Adapters, the CLIP that they look with, and their scales."""
    from ..checkpoints.ip_adapter_files import locate_ip_adapter

    base = directory_of(str(recipe.checkpoint)) or Path()
    used = to_load(recipe.ip_adapters)
    found = [locate_ip_adapter(str(one.checkpoint), one.image_encoder, base, str(recipe.checkpoint)) for one in used]
    listing.use("transformers", "CLIPVisionModelWithProjection")
    held = [_folder(listing, str(one.checkpoint), file.path) for one, file in zip(used, found, strict=True)]
    where = _encoder(listing, found[0].encoder)
    listing.assign("image_encoder", "CLIPVisionModelWithProjection.from_pretrained", [where, "dtype=pipeline.dtype"])
    listing.add("pipeline.register_modules(image_encoder=image_encoder)")
    names = [one.path.name for one in found]
    if len(found) == 1:
        given = [held[0], 'subfolder=""', f"weight_name={literal(names[0])}"]
    else:
        given = [f"[{', '.join(held)}]", f"subfolder={literal([''] * len(found))}", f"weight_name={literal(names)}"]
    listing.add(*call("pipeline.load_ip_adapter", given))
    scales = [one.scales for one in used]
    listing.add(*call("pipeline.set_ip_adapter_scale", [literal(scales[0] if len(scales) == 1 else scales)]))


def _folder(listing: Listing, word: str, file: Path) -> str:
    """Return the folder of an IP-Adapter's file as source."""
    return f"str({embedded_folder(listing, word)})" if word in embedded.adapter_names() else literal(str(file.parent.resolve()))


def _encoder(listing: Listing, word: str) -> str:
    """Return where the CLIP is that IP-Adapters look with, as source."""
    path, embedded_one = here(word), embedded.image_encoder()
    if path == embedded_one:
        return f"{embedded_folder(listing, embedded_one.parent.name)} / {literal(path.name)}"
    return literal(word if path is None else path.resolve())


def put_masks(listing: Listing, recipe: Recipe, sources: Mapping[str, str]) -> list[str]:
    """Write the lines that say where the pictures of IP-Adapters count; return the argument that hands it over, if any."""
    fields = [[numbered("ip_adapter_mask", number) for number in numbers] for _, numbers in groups(recipe.ip_adapters)]
    if not any(field in sources for held in fields for field in held):
        return []
    listing.use("diffusers.image_processor", "IPAdapterMaskProcessor")
    if not all(field in sources for held in fields for field in held):
        listing.use("PIL", "Image")
        listing.add(f'everywhere = Image.new("L", {literal((recipe.width, recipe.height))}, 255)')
    listing.add("masks = [")
    for held in fields:
        shown = ", ".join(sources.get(field, "everywhere") for field in held)
        listing.add(f"    IPAdapterMaskProcessor().preprocess([{shown}], height={recipe.height}, width={recipe.width}),")
    listing.add("]", "masks = [one.reshape(1, len(one), *one.shape[2:]) for one in masks]")
    return ['cross_attention_kwargs={"ip_adapter_masks": masks}']


def shown_pictures(recipe: Recipe, sources: Mapping[str, str]) -> str:
    """Return the pictures of a recipe's IP-Adapters as source: one for each, or a list where it looks at several."""
    held = [[sources[numbered("ip_adapter_image", n)] for n in numbers] for _, numbers in groups(recipe.ip_adapters)]
    shown = [one[0] if len(one) == 1 else f"[{', '.join(one)}]" for one in held]
    return shown[0] if len(held) == 1 and len(held[0]) == 1 else f"[{', '.join(shown)}]"


def file_arguments(listing: Listing, file: str) -> list[str]:
    """Return the first arguments of diffusers' loaders of adapters for a file, a folder, or one of the hub or this package."""
    if file in embedded.adapter_names():
        return [embedded_folder(listing, file), f"weight_name={literal(embedded.adapter_file(file).name)}"]
    path = here(file)
    if path is not None and path.is_file():
        return [literal(path.parent.resolve()), f"weight_name={literal(path.name)}"]
    if path is not None and path.is_dir():
        return [literal(path.resolve())]
    repo, revision, name = parse_hub_id(file) or (file, None, None)
    named = [f"weight_name={literal(name)}"] if name else []
    return [literal(repo), *named, *([f"revision={literal(revision)}"] if revision else [])]


def file_of(file: str) -> Path | None:
    """Return the file on this disk that an adapter's word names, or None."""
    path = embedded.adapter_file(file) if file in embedded.adapter_names() else here(file)
    if path is not None and path.is_file():
        return path
    repo, revision, name = parse_hub_id(file) or (file, None, None)
    return cached(repo, name, revision) if name and is_hub_id(repo) else None


def _whole(file: str) -> Path | None:
    """Return the file on this disk that a LoRA's word names, in a folder too, or None."""
    from ..checkpoints.adapter_files import LORA, locate_file

    path = here(file)
    return locate_file(file, LORA).path if path is not None and path.is_dir() else file_of(file)


def _refuse_several_vectors(file: str) -> None:
    """Compel alone knows nothing of the further tokens of a word: the program would read its first vector."""
    from ..checkpoints.embedding_vectors import read_embedding

    if file_of(file) is not None and any(len(rows) > 1 for rows in read_embedding(file, None).vectors.values()):
        rule = "one with a single vector where a program weighs the words of its prompts"
        raise ParameterError(breaks_rule("embedding", rule, file, "Leave `weighting` out, or share the recipe instead."))


def _load_words(listing: Listing, file: str, token: str | None) -> None:
    """Write the lines that load a textual inversion; of one for two text encoders each part is loaded for itself."""
    held = file_of(file)
    if held is not None and held.suffix == ".safetensors":
        from ..checkpoints.layouts import shapes

        encoders = {"clip_l": "", "clip_g": "_2"}
        parts = [(key, suffix) for key, suffix in encoders.items() if key in shapes(held)]
        if parts:
            listing.use("safetensors.torch", "load_file")
            listing.add(f"vectors = load_file({literal(held)})")
            for key, suffix in parts:
                where = [f"tokenizer=pipeline.tokenizer{suffix}", f"text_encoder=pipeline.text_encoder{suffix}"]
                listing.add(*call("pipeline.load_textual_inversion", [f'vectors["{key}"]', f"token={literal(token)}", *where]))
            return
    named = [f"token={literal(token)}"] if token else []
    listing.add(*call("pipeline.load_textual_inversion", [*file_arguments(listing, file), *named]))
