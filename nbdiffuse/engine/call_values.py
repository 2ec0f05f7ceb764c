"""The values that a pipeline's call gets: a recipe's fields under diffusers' names, its pictures, embeddings and generator."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from diffusers.image_processor import IPAdapterMaskProcessor
from PIL import Image

from ..errors import ParameterError
from ..families.number_lists import called_value
from ..images import latent_masks
from ..images.latents import Latents
from ..images.noise import slerp
from ..pipelines.pipelines import Pipelines
from ..recipes.fields import numbered
from ..recipes.ip_adapter import groups
from ..recipes.noise_start import called_strength
from ..recipes.presets import preset_of
from ..recipes.recipe import Recipe
from ..recipes.resolve import call_fields, checkpoint_text
from . import conditioning
from .adapters import words
from .embedding_cache import EmbeddingCache


def call_values(
    pipelines: Pipelines, cache: EmbeddingCache, recipe: Recipe, pipeline: Any, pictures: Mapping[str, Image.Image]
) -> dict[str, Any]:
    """Return the arguments of a pipeline's call: the recipe's fields that the call takes, under diffusers' names.

    Parameters
    ----------
    pipelines, cache
        Where the pipeline comes from, and what keeps embeddings.
    recipe
        Complete.
    pipeline
        That is called.
    pictures
        The recipe's, by field, as the call gets them.

    Raises
    ------
    ParameterError
        It goes on from latents of another VAE.
    """
    accepted = inspect.signature(pipeline.__call__).parameters
    fields = call_fields(recipe, accepted)
    values = {name: [pictures.get(field, recipe.get(field)) for field in held] for name, held in fields.items()}
    arguments = {name: held if len(held) > 1 else called_value(name, held[0]) for name, held in values.items()}
    if recipe.noise is not None:
        arguments["strength"] = called_strength(recipe)
    arguments |= _on_latents(recipe, pipeline, pictures)
    arguments |= preset_of(recipe.model).constants(recipe.width or 0, recipe.height or 0)
    if recipe.ip_adapters:
        shown = [[pictures[numbered("ip_adapter_image", n)] for n in numbers] for _, numbers in groups(recipe.ip_adapters)]
        arguments["ip_adapter_image"] = [one[0] if len(one) == 1 else one for one in shown]
        arguments |= _masks(recipe, pictures)
    if isinstance(recipe.image, Latents):
        arguments["image"] = _accepted_latents(pipelines, recipe, recipe.image)
    # Calls without one, such as those of latent consistency models, are not given one.
    negative = accepted.get("negative_prompt")
    prompts: dict[str, Any] = {} if negative is None else {"negative_prompt": recipe.negative_prompt or negative.default}
    if recipe.weighs:
        scope = (pipelines.scope(checkpoint_text(recipe)), words(pipelines, recipe))
        device = pipeline._execution_device
        prompts = conditioning.arguments(pipeline, recipe, lambda key, make: cache.get((*scope, *key), make, device))
    generator = _generator(recipe)
    turns = recipe.variation is not None and recipe.image is None
    noise = {} if not turns else {"latents": _turned_noise(pipeline, recipe, generator)}
    return {**arguments, **prompts, **noise, "generator": generator}


def _on_latents(recipe: Recipe, pipeline: Any, pictures: Mapping[str, Image.Image]) -> dict[str, Any]:
    """Return the arguments by which a mask acts on latents; nothing where it does not."""
    mask = recipe.mask
    if mask is None or not (mask.hides_latents or mask.differential):
        return {}
    if mask.differential:
        first, on_step_end = latent_masks.differential(pictures["mask_image"], pipeline.vae_scale_factor)
        changed = {"callback_on_step_end": on_step_end, "callback_on_step_end_tensor_inputs": ["mask"]}
        return {"mask_image": first, **changed}

    encoding, drawing = (torch.Generator("cpu").manual_seed(recipe.seed or 0) for _ in range(2))
    noise = functools.partial(torch.randn, generator=drawing) if mask.content == "latent_noise" else None
    start = latent_masks.hidden_latents(pipeline, pictures["image"], pictures["mask_image"], noise, encoding)
    return {"image": start, "masked_image_latents": start}


def _turned_noise(pipeline: Any, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    """Draw the noise that a call would, and turn it towards that of the variation's seed."""
    channels, factor = pipeline.unet.config.in_channels, pipeline.vae_scale_factor
    shape = (1, channels, (recipe.height or 0) // factor, (recipe.width or 0) // factor)
    other = torch.Generator("cpu").manual_seed(recipe.get("variation_seed"))
    low, high = (torch.randn(shape, generator=one, dtype=pipeline.unet.dtype) for one in (generator, other))
    turned: torch.Tensor = slerp(recipe.get("variation_strength"), low[0], high[0])[None]
    return turned


def _masks(recipe: Recipe, pictures: Mapping[str, Image.Image]) -> dict[str, Any]:
    """Return the argument that says where the pictures of IP-Adapters count; nothing where all count everywhere."""
    fields = [[numbered("ip_adapter_mask", number) for number in numbers] for _, numbers in groups(recipe.ip_adapters)]
    if not any(field in pictures for held in fields for field in held):
        return {}
    size = (recipe.width or 0, recipe.height or 0)
    everywhere = Image.new("L", size, 255)
    processor = IPAdapterMaskProcessor()
    made = [
        processor.preprocess([pictures.get(field, everywhere) for field in held], height=size[1], width=size[0])
        for held in fields
    ]
    return {"cross_attention_kwargs": {"ip_adapter_masks": [one.reshape(1, len(one), *one.shape[2:]) for one in made]}}


def _generator(recipe: Recipe) -> torch.Generator:
    """Return what draws a run's noise: a generator of its own, or torch's, where the pipeline draws with that one as well."""
    seed = recipe.seed or 0
    return torch.manual_seed(seed) if preset_of(recipe.model).unseeded(recipe) else torch.Generator("cpu").manual_seed(seed)


def _accepted_latents(pipelines: Pipelines, recipe: Recipe, latents: Latents) -> torch.Tensor:
    if latents.space != pipelines.space(checkpoint_text(recipe), recipe.vae):
        rule = f"`image` must be latents of the VAE that {recipe.model} has, got another's."
        raise ParameterError(f"{rule} Give the decoded picture: `result.image`.")
    return torch.from_numpy(latents.array.copy())[None].to(pipelines.device, pipelines.dtype)
