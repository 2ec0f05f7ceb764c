"""How a plain diffusers program loads what a recipe runs on: checkpoint, scheduler, device."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from .. import embedded
from ..embedded.shared_weights import CHECKPOINTS
from ..embedded.weight_deltas import NAME as CHANGE
from ..errors import ParameterError, breaks_rule
from ..families.description import content_of, describe, directory_of
from ..families.diffusers_classes import automatic_class, init_defaults
from ..families.hub_ids import MOVED, cached
from ..families.number_lists import freeu_factors
from ..families.pipeline_classes import controlnet_class
from ..families.single_file import CONFIGS, single_file
from ..files.paths import here
from ..metadata.fingerprints import DEVICES, DTYPES
from ..recipes.controlnets import controlnet_of, extra_name
from ..recipes.portable import is_hub_id
from ..recipes.presets import preset_of
from ..recipes.recipe import Recipe
from ..recipes.scheduler_rules import settings_of
from . import adapters
from .embedded_folders import embedded_folder
from .listing import Listing
from .statements import identifier, literal

OPTIMIZATIONS: Mapping[tuple[str, str], str] = {
    ("attention", "xformers"): "pipeline.enable_xformers_memory_efficient_attention()",
    ("attention", "plain"): "pipeline.unet.set_attn_processor(AttnProcessor())",
    ("channels_last", "on"): "pipeline.unet.to(memory_format=torch.channels_last)",
    ("compile", "on"): "pipeline.unet.compile_repeated_blocks(fullgraph=True)",
    ("vae_tiling", "on"): "pipeline.vae.enable_tiling()",
}
"""What a program says for an optimization's position; the others are diffusers' own."""


def load(listing: Listing, recipe: Recipe, machine: Mapping[str, str]) -> None:
    """Write the lines that load a complete recipe's pipeline.

    Parameters
    ----------
    listing
        Gets the lines.
    recipe
        Complete.
    machine
        The fingerprint of a result, or the part of it that is known: "device", "dtype",
        "checkpoint" and what moved optimizations.
    """
    word, pipeline = str(recipe.checkpoint), preset_of(recipe.model).pipeline(recipe)
    dtype, device = machine.get("dtype", "float32"), machine.get("device", "cpu")
    # The second wall: whatever let a fingerprint in, these become source.
    for field, value, known in (("dtype", dtype, DTYPES), ("device", device, DEVICES)):
        if value not in known:
            raise ParameterError(breaks_rule(field, f"one of {', '.join(known)}", value))
    typed = [f"dtype=torch.{dtype}"] if dtype != "float32" else []
    more = [*typed, *(["add_watermarker=False"] if "XL" in pipeline else [])]
    more += ["safety_checker=None"] if recipe.safety_checker is not None else []
    nets = {extra_name(number): net.checkpoint for number, net in enumerate(recipe.controlnets, start=1) if net.checkpoint}
    for name, net in nets.items():
        kind = controlnet_class(pipeline)
        listing.use("diffusers", kind)
        control = controlnet_of(net).checkpoint(word, preset_of(recipe.model))
        listing.assign(name, f"{kind}.from_pretrained", [*located(listing, control, machine.get(name, "")), *typed])
    if recipe.vae is not None:
        more.insert(0, _own_vae(listing, recipe.vae, word, machine.get("vae", ""), typed))
    if nets:
        more.insert(0, f"controlnet=[{', '.join(nets)}]" if len(nets) > 1 else "controlnet=controlnet")
    preset = preset_of(recipe.model)
    options = {name: value for name, value in preset.options(recipe).items() if value != init_defaults(pipeline)[name]}
    more += [f"{name}={literal(value)}" for name, value in options.items()]
    if _is_file(word):
        # No model_index.json is there for the automatic classes to read.
        listing.use("diffusers", pipeline)
        listing.assign("pipeline", f"{pipeline}.from_single_file", [*_single_file(word), *more])
    else:
        # The automatic classes take another argument for it in each of their ways to load.
        loader = pipeline if preset.mode(recipe).endswith(("+pag", "-union")) else automatic_class(pipeline)
        listing.use("diffusers", loader)
        lent = [one for one in _lent(listing, word, typed) if recipe.vae is None or one != "vae=vae"]
        given = [*located(listing, word, machine.get("checkpoint", "")), *lent, *more]
        listing.assign("pipeline", f"{loader}.from_pretrained", given)
    for name, value in preset_of(recipe.model).missing_config(recipe).items():
        listing.add("# The pipeline reads this setting, which the checkpoint does not say.")
        listing.add(f"pipeline.transformer.register_to_config({identifier(name)}={literal(value)})")
    adapters.load(listing, recipe)
    _schedule(listing, recipe)
    if recipe.get("clip_skip") is not None and "XL" not in pipeline:
        listing.add("# diffusers looks for the last norm in `text_model`, which transformers 5 does not have any more.")
        listing.add('vars(pipeline.text_encoder).setdefault("text_model", pipeline.text_encoder)')
    if recipe.get("freeu") is not None:
        named = freeu_factors(recipe.get("freeu"))
        listing.add(f"pipeline.enable_freeu({', '.join(f'{name}={value!r}' for name, value in named.items())})")
    if device != "cpu":
        listing.add(f"pipeline.to({literal(device)})")
    transformer = "transformer" in index_of(word)
    for (optimization, position), line in OPTIMIZATIONS.items():
        # A transformer keeps its own attention, see `optimizations.apply`.
        if machine.get(optimization) == position and not (transformer and optimization == "attention"):
            line = line.replace("pipeline.unet", "pipeline.transformer") if transformer else line
            if "AttnProcessor" in line:
                listing.use("diffusers.models.attention_processor", "AttnProcessor")
            listing.add(line)
    if any("torch." in one for one in more) or machine.get("channels_last") == "on":
        listing.use("torch")


def _schedule(listing: Listing, recipe: Recipe) -> None:
    """Write the line that exchanges the scheduler, or sets what the recipe or a single file's own marks say, where one does."""
    described, scheduler = describe(str(recipe.checkpoint)), recipe.scheduler
    own, marks = (described.scheduler, described.marks) if described else (None, {})
    marks = {**marks, **settings_of(recipe)}
    if scheduler is None or (scheduler == own and not marks):
        return
    name = identifier(f"{scheduler}Scheduler")
    listing.use("diffusers", name)
    settings = [f"{identifier(setting)}={literal(value)}" for setting, value in marks.items()]
    listing.assign("pipeline.scheduler", f"{name}.from_config", ["pipeline.scheduler.config", *settings])


def located(listing: Listing, word: str, identity: str = "") -> list[str]:
    """Return the first arguments of `from_pretrained`; a commit that is known is pinned."""
    if word in embedded.names():
        return [embedded_folder(listing, word)]
    path = here(word)
    if path is not None and path.is_dir():
        return [literal(path)]
    name, _, revision = word.partition("@")
    _, _, commit = identity.partition("+")[0].partition("@")
    commit = commit if re.fullmatch("[0-9a-f]{40}", commit) else ""
    name, revision = MOVED.get(name, name), revision or commit
    given = [literal(name), *([f"revision={literal(revision)}"] if revision else [])]
    halves = (f"unet/diffusion_pytorch_model.fp16{suffix}" for suffix in (".safetensors", ".bin"))
    return [*given, 'variant="fp16"'] if any(_cached(name, file, revision) for file in halves) else given


def _own_vae(listing: Listing, vae: str, word: str, identity: str, typed: list[str]) -> str:
    """Write the lines that load the VAE in the place of a checkpoint's own; return the argument that hands it over."""
    path = here(vae)
    if not _is_file(vae):
        name, _, revision = vae.partition("@")
        config = path / "config.json" if path is not None else cached(name, "config.json", revision or None)
        said = content_of(config).get("_class_name", "AutoencoderKL") if config is not None else "AutoencoderKL"
        listing.use("diffusers", kind := identifier(str(said)))
        listing.assign("vae", f"{kind}.from_pretrained", [*located(listing, vae, identity), *typed])
        return "vae=vae"
    listing.use("diffusers", "AutoencoderKL")
    single = single_file(here(word) or Path())
    owner = embedded.shared_weights_of(word).get("vae", word) if word in embedded.names() else word
    described = [literal(CONFIGS[single.family])] if single else located(listing, owner, "")[:1]
    where = _single_file(vae)[:1] if path is None else [literal(path)]
    given = [
        *where,
        f"config=str({described[0]})" if owner in embedded.names() else f"config={described[0]}",
        'subfolder="vae"',
        *typed,
    ]
    listing.assign("vae", "AutoencoderKL.from_single_file", given)
    return "vae=vae"


def _lent(listing: Listing, word: str, typed: list[str]) -> list[str]:
    """Write the lines that load what this embedded checkpoint has of another one; return the arguments that hand it over."""
    if word not in embedded.names():
        return []
    changed = embedded.changed(word)
    lent = {**embedded.shared_weights_of(word), **{component: base for component, (_, base) in changed.items()}}
    for component, owner in lent.items():
        library, loader = json.loads((embedded.path(owner) / "model_index.json").read_text())[component]
        listing.use(library, loader)
        where = [f"checkpoints / {literal(owner)}", f"subfolder={literal(component)}"]
        # What is added to weights meets them as they are in the file.
        listing.assign(component, f"{loader}.from_pretrained", [*where, *([] if component in changed else typed)])
    for component, (holder, base) in changed.items():
        _change(listing, component, holder, base)
        for dtype in typed:
            listing.add(f"{component}.to({dtype.removeprefix('dtype=')})")
    return [f"{component}={component}" for component in lent]


def _change(listing: Listing, component: str, holder: str, base: str) -> None:
    """Write the lines that change a component of one embedded checkpoint to that of another."""
    listing.use("safetensors.torch", "load_file")
    with (CHECKPOINTS / holder / component / CHANGE).open("rb") as file:
        keys = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    few = not any(key.endswith(".up") for key in keys)
    listing.add(
        f"# {holder} ships as what it changes in the {component} of {base}: {'a few weights' if few else 'low-rank products'}.",
        f"changes = load_file(checkpoints / {literal(f'{holder}/{component}/{CHANGE}')})",
        f"for name, weight in {component}.named_parameters():",
    )
    if few:
        listing.add(
            '    if f"{name}.diff" in changes:',
            '        moved = weight.double() + changes[f"{name}.diff"].double()',
            "        weight.data = moved.half().to(weight.dtype)",
        )
    else:
        listing.add(
            '    if f"{name}.up" in changes:',
            '        change = changes[f"{name}.up"].double() @ changes[f"{name}.down"].double()',
            "    else:",
            '        change = changes[f"{name}.diff"].double()',
            "    moved = weight.double() + change.reshape(weight.shape)",
            "    weight.data = moved.half().to(weight.dtype)",
        )
    wide = [key.removesuffix(".weight.wide") for key in keys if key.endswith(".weight.wide")]
    if wide:
        listing.use("torch")
    for layer in wide:
        weight = f"{component}.{layer}.weight.data"
        listing.add(f'wide = changes["{layer}.weight.wide"]', f"{weight} = torch.cat([{weight}, wide], dim=1)")
    now, before = (content_of(embedded.path(name) / component / "config.json") for name in (holder, base))
    others = [f"{key}={literal(value)}" for key, value in now.items() if value != before.get(key) and not key.startswith("_")]
    if others:
        listing.add(f"{component}.register_to_config({', '.join(others)})")


def _cached(name: str, file: str, revision: str) -> Path | None:
    """Return a file of a hub repository that is on this disk already."""
    return cached(name, file, revision) if is_hub_id(name) else None


def _is_file(word: str) -> bool:
    return word.endswith(".safetensors")


def _single_file(word: str) -> list[str]:
    path = here(word)
    if path is None or not path.is_file():
        name, _, revision = word.partition("@")
        repo, file = "/".join(name.split("/")[:2]), "/".join(name.split("/")[2:])
        return [literal(f"https://huggingface.co/{repo}/blob/{revision or 'main'}/{file}")]
    beside = path.with_suffix("")
    given = [literal(path)]
    if (beside / "model_index.json").is_file():
        return [*given, f"config={literal(beside)}"]
    said = single_file(path)
    # For SD 2.x diffusers would go to repositories that are gone, and to the one for 768 pixels.
    return [*given, f"config={literal(CONFIGS[said.family])}"] if said is not None and "v2" in said.family else given


def index_of(word: str) -> dict[str, object]:
    """Return what a checkpoint's model_index.json says; nothing where it is not on this disk."""
    directory = directory_of(word)
    return dict(content_of(directory / "model_index.json")) if directory else {}
