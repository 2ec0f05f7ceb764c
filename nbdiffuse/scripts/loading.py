"""How a plain diffusers program loads what a recipe runs on: checkpoint, scheduler, device."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from .. import embedded
from ..embedded.differences import NAME as CHANGE
from ..recipes import lora
from ..recipes.controlnets import controlnet_of
from ..recipes.parameters import number_text
from ..recipes.presets import MOVED, preset_of
from ..recipes.recipe import Recipe
from .listing import Listing
from .statements import literal

LEVERS: Mapping[tuple[str, str], str] = {
    ("attention", "xformers"): "pipeline.enable_xformers_memory_efficient_attention()",
    ("attention", "plain"): "pipeline.unet.set_attn_processor(AttnProcessor())",
    ("channels_last", "on"): "pipeline.unet.to(memory_format=torch.channels_last)",
    ("compile", "on"): "pipeline.unet.compile_repeated_blocks(fullgraph=True)",
    ("vae_tiling", "on"): "pipeline.vae.enable_tiling()",
}
"""What a program says for a lever's position; the others are diffusers' own."""


_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


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
        "checkpoint" and what moved levers.
    """
    from ..checkpoints.signatures import automatic_class

    word, pipeline = str(recipe.checkpoint), preset_of(recipe.model).pipeline(recipe)
    dtype = machine.get("dtype", "float32")
    typed = [f"dtype=torch.{dtype}"] if dtype != "float32" else []
    more = [*typed, *(["add_watermarker=False"] if "XL" in pipeline else [])]
    nets = {name: net for name in ("controlnet", "controlnet_2") if (net := getattr(recipe, name))}
    for name, net in nets.items():
        listing.use("diffusers", "ControlNetModel")
        control = controlnet_of(net).checkpoint(word, preset_of(recipe.model))
        listing.assign(name, "ControlNetModel.from_pretrained", [*_located(listing, control, machine.get(name, "")), *typed])
    if nets:
        more.insert(0, f"controlnet=[{', '.join(nets)}]" if len(nets) > 1 else "controlnet=controlnet")
    if _is_file(word):
        # No model_index.json is there for the automatic classes to read.
        listing.use("diffusers", pipeline)
        listing.assign("pipeline", f"{pipeline}.from_single_file", [*_single_file(word), *more])
    else:
        loader = automatic_class(pipeline)
        listing.use("diffusers", loader)
        given = [*_located(listing, word, machine.get("checkpoint", "")), *_lent(listing, word, typed), *more]
        listing.assign("pipeline", f"{loader}.from_pretrained", given)
    for one in lora.read(recipe.lora) if recipe.lora else ():
        listing.add(f"pipeline.load_lora_weights({', '.join(_lora_file(one.file))})")
        listing.add(f"pipeline.fuse_lora({'' if one.weight == 1 else f'lora_scale={number_text(one.weight)}'})")
        listing.add("pipeline.unload_lora_weights()  # they are in the weights now")
    if _own_scheduler(word) != f"{recipe.scheduler}Scheduler":
        schedule(listing, f"{recipe.scheduler}Scheduler")
    if machine.get("device", "cpu") != "cpu":
        listing.add(f"pipeline.to({literal(machine['device'])})")
    for (lever, position), line in LEVERS.items():
        if machine.get(lever) == position:
            if "AttnProcessor" in line:
                listing.use("diffusers.models.attention_processor", "AttnProcessor")
            listing.add(line)
    if any("torch." in one for one in more) or machine.get("channels_last") == "on":
        listing.use("torch")


def _lora_file(file: str) -> list[str]:
    path = Path(file).expanduser()
    if path.is_file():
        return [literal(path.parent.resolve()), f"weight_name={literal(path.name)}"]
    repo, name = "/".join(file.split("/")[:2]), "/".join(file.split("/")[2:])
    return [literal(repo), f"weight_name={literal(name)}"]


def schedule(listing: Listing, scheduler: str) -> None:
    """Write the line that exchanges the scheduler."""
    listing.use("diffusers", scheduler)
    listing.assign("pipeline.scheduler", f"{scheduler}.from_config", ["pipeline.scheduler.config"])


def _located(listing: Listing, word: str, identity: str) -> list[str]:
    """Return the first arguments of `from_pretrained`; a commit that is known is pinned."""
    if word in embedded.names():
        listing.use("importlib.util", "find_spec")
        listing.use("pathlib", "Path")
        listing.constant(
            'checkpoints = Path(find_spec("nbdiffuse").origin).parent / "embedded/checkpoints"',
            "Small checkpoints that come with nbdiffuse, which is looked up here and not imported.",
        )
        return [f"checkpoints / {literal(word)}"]
    path = Path(word).expanduser()
    if path.is_dir():
        return [literal(path)]
    name, _, revision = word.partition("@")
    _, _, commit = identity.partition("+")[0].partition("@")
    name, revision = MOVED.get(name, name), revision or commit
    given = [literal(name), *([f"revision={literal(revision)}"] if revision else [])]
    halves = (f"unet/diffusion_pytorch_model.fp16{suffix}" for suffix in (".safetensors", ".bin"))
    return [*given, 'variant="fp16"'] if any(_cached(name, file, revision) for file in halves) else given


def _lent(listing: Listing, word: str, typed: list[str]) -> list[str]:
    """Write the lines that load what this embedded checkpoint has of another one; return the arguments that hand it over."""
    if word not in embedded.names():
        return []
    changed = embedded.changed(word)
    lent = {**embedded.borrowed(word), **changed}
    for component, owner in lent.items():
        library, loader = json.loads((embedded.path(owner) / "model_index.json").read_text())[component]
        listing.use(library, loader)
        where = [f"checkpoints / {literal(owner)}", f"subfolder={literal(component)}"]
        # What is added to weights meets them as they are in the file.
        listing.assign(component, f"{loader}.from_pretrained", [*where, *([] if component in changed else typed)])
    for component in changed:
        listing.use("safetensors.torch", "load_file")
        file = literal(f"{word}/{component}/{CHANGE}")
        listing.add(
            f"# {word} ships as what it changes in the {component} of {changed[component]}: low-rank products.",
            f"changes = load_file(checkpoints / {file})",
            f"for name, weight in {component}.named_parameters():",
            '    if f"{name}.up" in changes:',
            '        change = changes[f"{name}.up"].double() @ changes[f"{name}.down"].double()',
            "    else:",
            '        change = changes[f"{name}.diff"].double()',
            "    moved = weight.double() + change.reshape(weight.shape)",
            "    weight.data = moved.half().to(weight.dtype)",
            *(f"{component}.to({dtype.removeprefix('dtype=')})" for dtype in typed),
        )
    return [f"{component}={component}" for component in lent]


def _cached(name: str, file: str, revision: str) -> Path | None:
    """Return a file of a hub repository that is on this disk already."""
    if not _HUB_ID.fullmatch(name):
        return None
    found = try_to_load_from_cache(name, file, revision=revision or None)
    return Path(found) if isinstance(found, str) else None


def _is_file(word: str) -> bool:
    return word.endswith(".safetensors")


def _single_file(word: str) -> list[str]:
    path = Path(word).expanduser()
    if not path.is_file():
        name, _, revision = word.partition("@")
        repo, file = "/".join(name.split("/")[:2]), "/".join(name.split("/")[2:])
        return [literal(f"https://huggingface.co/{repo}/blob/{revision or 'main'}/{file}")]
    beside = path.with_suffix("")
    given = [literal(path)]
    return [*given, f"config={literal(beside)}"] if (beside / "model_index.json").is_file() else given


def directory_of(word: str) -> Path | None:
    """Return where a checkpoint's configs are on this disk, without fetching anything; None where they are not."""
    if word in embedded.names():
        return embedded.path(word)
    path = Path(word).expanduser()
    if path.is_dir():
        return path
    if _is_file(word):
        return path.with_suffix("") if path.with_suffix("").is_dir() else None
    name, _, revision = word.partition("@")
    found = _cached(MOVED.get(name, name), "model_index.json", revision)
    return found.parent if found else None


def index_of(word: str) -> dict[str, object]:
    """Return what a checkpoint's model_index.json says; nothing where it is not on this disk."""
    directory = directory_of(word)
    file = directory / "model_index.json" if directory else None
    return dict(json.loads(file.read_text("utf-8"))) if file and file.is_file() else {}


def _own_scheduler(word: str) -> str | None:
    entry = index_of(word).get("scheduler")
    return entry[1] if isinstance(entry, list) else None
