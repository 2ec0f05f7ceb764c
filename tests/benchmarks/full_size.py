"""The guide's large checkpoints at their true sizes, with random weights: nothing is downloaded.

Widths and depths are those of the published configs; `PARAMETERS` holds what they add up to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from nbdiffuse import embedded

PARAMETERS = {
    "sd15": {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480},
    "sdxl-refiner": {"unet": 2_259_526_660, "vae": 83_653_863, "text_encoder_2": 694_659_840},
    "controlnet": {"": 361_279_120},
}
"""How many numbers each model has."""
_BETAS: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def _text_config(tokenizer: Any, width: int, layers: int, heads: int, activation: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        projection_dim=width,
        hidden_act=activation,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _vae(size: int, part: int, **more: Any) -> AutoencoderKL:
    return AutoencoderKL(
        sample_size=size,
        block_out_channels=tuple(width // part for width in (128, 256, 512, 512)),
        layers_per_block=2,
        norm_num_groups=32 // part,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        **more,
    )


def _sd15_unet(part: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=64,
        block_out_channels=tuple(width // part for width in (320, 640, 1280, 1280)),
        norm_num_groups=32 // part,
        cross_attention_dim=768 // part,
        attention_head_dim=8,
    )


def sd15(part: int) -> StableDiffusionPipeline:
    """Build Stable Diffusion v1.5 without its safety checker; widths are divided by `part`."""
    tokenizer = CLIPTokenizer.from_pretrained(embedded.path("sd15") / "tokenizer")
    return StableDiffusionPipeline(
        vae=_vae(512, part),
        text_encoder=CLIPTextModel(_text_config(tokenizer, 768 // part, 12, 12, "quick_gelu")),
        tokenizer=tokenizer,
        unet=_sd15_unet(part),
        scheduler=PNDMScheduler(skip_prk_steps=True, steps_offset=1, **_BETAS),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl_refiner(part: int) -> StableDiffusionXLImg2ImgPipeline:
    """Build the refiner of Stable Diffusion XL; widths are divided by `part`."""
    tokenizer = CLIPTokenizer.from_pretrained(embedded.path("sd15") / "tokenizer")
    width = 1280 // part
    unet = UNet2DConditionModel(
        sample_size=128,
        block_out_channels=tuple(one // part for one in (384, 768, 1536, 1536)),
        norm_num_groups=32 // part,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(6, 12, 24, 24),
        transformer_layers_per_block=4,
        use_linear_projection=True,
        cross_attention_dim=width,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=width + 5 * 256,
    )
    return StableDiffusionXLImg2ImgPipeline(
        vae=_vae(1024, part, scaling_factor=0.13025, force_upcast=True),
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=CLIPTextModelWithProjection(_text_config(tokenizer, width, 32, 20, "gelu")),
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=EulerDiscreteScheduler(timestep_spacing="leading", steps_offset=1, **_BETAS),
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )


def controlnet(part: int) -> ControlNetModel:
    """Build the ControlNet of Stable Diffusion v1.5; widths are divided by `part`."""
    return ControlNetModel.from_unet(_sd15_unet(part))


MAKERS = {"sd15": sd15, "sdxl-refiner": sdxl_refiner, "controlnet": controlnet}


def models(made: Any) -> dict[str, torch.nn.Module]:
    """Return the models of a pipeline by name; "" for a model alone."""
    held = {"": made} if isinstance(made, torch.nn.Module) else made.components
    return {name: part for name, part in held.items() if isinstance(part, torch.nn.Module)}


def count(made: Any) -> dict[str, int]:
    """Count the numbers of each model."""
    return {name: sum(tensor.numel() for tensor in part.parameters()) for name, part in models(made).items()}


def write(name: str, directory: Path, part: int, dtype: torch.dtype) -> Path:
    """Make one of `MAKERS`, seeded, and save it under a directory.

    Raises
    ------
    RuntimeError
        At full width, a model has another size than the original: a class changed its defaults.
    """
    torch.manual_seed(0)
    made = MAKERS[name](part)
    if part == 1 and count(made) != PARAMETERS[name]:
        raise RuntimeError(f"{name} has {count(made)}, and the original {PARAMETERS[name]}.")
    target = directory / name
    made.to(dtype=dtype).save_pretrained(target)
    return target
