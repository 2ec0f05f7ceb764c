"""What a recipe brings along besides its checkpoint, as the engine finds it: ControlNets, textual inversions and IP-Adapters."""

from __future__ import annotations

from typing import Any

from ..errors import ParameterError, breaks_rule
from ..pipelines.perturbed_attention import check_layers
from ..pipelines.pipelines import Pipelines
from ..recipes.controlnets import controlnet_of, extra_name
from ..recipes.fields import numbered, numbered_entry
from ..recipes.ip_adapter import to_load
from ..recipes.lora import unfused
from ..recipes.preset import Preset
from ..recipes.presets import preset_of
from ..recipes.recipe import Recipe
from ..recipes.resolve import checkpoint_text


def extras(recipe: Recipe, preset: Preset) -> dict[str, str]:
    """Return the checkpoints of components that the base checkpoint does not hold."""
    words = [net.checkpoint for net in recipe.controlnets if net.checkpoint is not None]
    nets = [controlnet_of(word).checkpoint(str(recipe.checkpoint), preset) for word in words]
    return {extra_name(number): net for number, net in enumerate(nets, start=1)}


def check(recipe: Recipe, pipeline: Any) -> None:
    """Raise `ParameterError` where a recipe names layers or kinds of control pictures that its pipeline does not have."""
    check_layers(pipeline)
    held = getattr(pipeline, "controlnet", None)
    nets = [] if held is None else list(getattr(held, "nets", [held]))
    for number, (said, net) in enumerate(zip(recipe.controlnets, nets, strict=False), start=1):
        known = net.config.get("num_control_type") or net.config.get("num_mode")
        if said.mode is not None and known is not None and said.mode >= known:
            line = breaks_rule(numbered("control_mode", number), f"at most {known - 1}", said.mode)
            raise ParameterError(f"{line} {said.checkpoint} knows {known} kinds of pictures, counted from 0.")


def words(pipelines: Pipelines, recipe: Recipe) -> str:
    """Return what textual inversions, and LoRA beside the weights, make of a recipe's words: encoded prompts depend on it."""
    found = [pipelines.embedding(one) for one in recipe.embeddings]
    word = checkpoint_text(recipe)
    beside = [f"{pipelines.lora(word, one).identity}:{one.in_text_encoders}" for _, one in unfused(recipe.loras)]
    return " ".join([*(f"{one.token}={one.identity}" for one in found), *beside])


def scopes(pipelines: Pipelines, recipe: Recipe) -> tuple[str, str]:
    """Return what encoded pictures and prompts depend on besides their input, and what those of prompts do further."""
    word = checkpoint_text(recipe)
    vae = f" {pipelines.own_vae(word, recipe.vae).identity}" if recipe.vae else ""
    return pipelines.scope(word) + vae, words(pipelines, recipe)


def fingerprints(pipelines: Pipelines, recipe: Recipe) -> dict[str, str]:
    """Return what identifies the files of a complete recipe: one entry for its checkpoint and each thing beside it."""
    found = {"checkpoint": pipelines.identity(checkpoint_text(recipe))}
    found |= {"vae": pipelines.own_vae(checkpoint_text(recipe), recipe.vae).identity} if recipe.vae else {}
    found |= {name: pipelines.identity(word) for name, word in extras(recipe, preset_of(recipe.model)).items()}
    for number, lora in unfused(recipe.loras):
        found[numbered_entry("lora", number)] = pipelines.lora(checkpoint_text(recipe), lora).identity
    for number, one in enumerate(recipe.embeddings, start=1):
        found[numbered_entry("embedding", number)] = pipelines.embedding(one).identity
    word = checkpoint_text(recipe)
    eyes = [pipelines.identity(one) for one in pipelines.image_encoders(word, recipe.ip_adapters)]
    for number, adapter in enumerate(to_load(recipe.ip_adapters), start=1):
        found[numbered_entry("ip_adapter", number)] = "+".join((pipelines.ip_adapter(word, adapter).identity, *eyes))
    return found


def notices(pipelines: Pipelines, recipe: Recipe) -> tuple[str, ...]:
    """Return what a person should know of the files that a recipe runs on, such as one that was taken for another."""
    asked = (checkpoint_text(recipe), *extras(recipe, preset_of(recipe.model)).values())
    lines = [line for word in asked for line in pipelines.notices(word)]
    lines += pipelines.own_vae(asked[0], recipe.vae).notices if recipe.vae else ()
    lines += [line for one in recipe.embeddings for line in pipelines.embedding(one).notices]
    lines += [line for _, one in unfused(recipe.loras) for line in pipelines.lora(asked[0], one).notices]
    lines += [line for one in to_load(recipe.ip_adapters) for line in pipelines.ip_adapter(asked[0], one).notices]
    return tuple(dict.fromkeys(lines))
