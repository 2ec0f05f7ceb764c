"""Tiny checkpoints of transformers that edit, or redraw a masked part, beside those of `tiny_families`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import tiny_families
import transformers


def _kontext() -> Any:
    return diffusers.FluxKontextPipeline(**tiny_families._flux(guidance=True).components)


def _klein() -> Any:
    transformer = diffusers.Flux2Transformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,
        timestep_guidance_channels=32,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    vae = diffusers.AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
    )
    # Klein reads the hidden states behind layers 9, 18 and 27.
    config = tiny_families._qwen3().config
    config.num_hidden_layers, config.layer_types = 28, ["full_attention"] * 28
    return diffusers.Flux2KleinPipeline(
        scheduler=tiny_families._flow(),
        vae=vae.eval(),
        text_encoder=transformers.Qwen3ForCausalLM(config).eval(),
        tokenizer=tiny_families._qwen_tokenizer(),
        transformer=transformer.eval(),
    )


def _fill() -> Any:
    """Return Flux Fill, whose transformer takes the kept part's latents and the mask's pixels beside the picture's latents."""
    wide = {**tiny_families._PACKED, "in_channels": 16 + 16 + 4 * 8 * 8, "out_channels": 16}
    transformer = diffusers.FluxTransformer2DModel(pooled_projection_dim=32, guidance_embeds=True, **wide)
    parts = {name: part for name, part in tiny_families._flux(guidance=True).components.items() if part is not None}
    return diffusers.FluxFillPipeline(**{**parts, "transformer": transformer.eval()})


MAKERS: dict[str, Callable[[], Any]] = {"flux-kontext": _kontext, "flux2-klein": _klein, "flux-fill": _fill}
