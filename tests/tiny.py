"""Small checkpoints with random weights and the guide's real classes, for families whose shape matters and not their pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def tokenizer() -> Any:
    """Return the embedded base's tokenizer."""
    from transformers import CLIPTokenizer

    from nbdiffuse import embedded

    return CLIPTokenizer.from_pretrained(embedded.path("sd15") / "tokenizer")


def text_encoder(projected: bool = False) -> Any:
    """Return a CLIP text encoder of two layers."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    tok = tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tok),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        projection_dim=32,
        bos_token_id=tok.bos_token_id,
        eos_token_id=tok.eos_token_id,
        pad_token_id=tok.pad_token_id,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def vae(**more: Any) -> Any:
    """Return an autoencoder of factor 8."""
    from diffusers import AutoencoderKL

    given: dict[str, Any] = {
        "block_out_channels": (8, 8, 16, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "latent_channels": 4,
        "sample_size": 128,
        "force_upcast": False,
        **more,
    }
    levels = len(given["block_out_channels"])
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels, **given
    ).eval()


def _unet(**more: Any) -> Any:
    from diffusers import UNet2DConditionModel

    given: dict[str, Any] = {
        "sample_size": 16,
        "in_channels": 4,
        "out_channels": 4,
        "layers_per_block": 1,
        "block_out_channels": (16, 32),
        "norm_num_groups": 8,
        "cross_attention_dim": 32,
        "attention_head_dim": 2,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        **more,
    }
    return UNet2DConditionModel(**given).eval()


_BETAS: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def sdxl(refiner: bool, **more: Any) -> Any:
    """Return Stable Diffusion XL, or its refiner; `more` goes to the UNet."""
    from diffusers import (
        EulerDiscreteScheduler,
        StableDiffusionXLImg2ImgPipeline,
        StableDiffusionXLInpaintPipeline,
        StableDiffusionXLInstructPix2PixPipeline,
        StableDiffusionXLPipeline,
    )

    unet = _unet(
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        cross_attention_dim=32 if refiner else 64,
        projection_class_embeddings_input_dim=32 + (5 if refiner else 6) * 8,
        **more,
    )
    scheduler = EulerDiscreteScheduler(timestep_spacing="leading", steps_offset=1, **_BETAS)
    second = {"text_encoder_2": text_encoder(projected=True), "tokenizer_2": tokenizer()}
    if refiner:
        return StableDiffusionXLImg2ImgPipeline(
            vae=vae(),
            text_encoder=None,
            tokenizer=None,
            unet=unet,
            scheduler=scheduler,
            requires_aesthetics_score=True,
            force_zeros_for_empty_prompt=False,
            add_watermarker=False,
            **second,
        )
    kinds = {8: StableDiffusionXLInstructPix2PixPipeline, 9: StableDiffusionXLInpaintPipeline}
    return kinds.get(unet.config.in_channels, StableDiffusionXLPipeline)(
        vae=vae(),
        text_encoder=text_encoder(),
        tokenizer=tokenizer(),
        unet=unet,
        scheduler=scheduler,
        add_watermarker=False,
        **second,
    )


def movq() -> Any:
    """Return Kandinsky's autoencoder; its norms have 32 groups, so no level is narrower."""
    from diffusers import VQModel

    return VQModel(
        latent_channels=4,
        vq_embed_dim=4,
        num_vq_embeddings=32,
        norm_type="spatial",
        norm_num_groups=16,
        block_out_channels=(32, 32, 32, 32),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 3 + ("AttnDownEncoderBlock2D",),
        up_block_types=("AttnUpDecoderBlock2D",) + ("UpDecoderBlock2D",) * 3,
    ).eval()


def kandinsky22(channels: int = 4) -> Any:
    """Return Kandinsky 2.2 with its prior; for inpainting its UNet takes 9 channels."""
    from diffusers import DDPMScheduler, KandinskyV22CombinedPipeline, KandinskyV22InpaintCombinedPipeline

    unet = _unet(
        in_channels=channels,
        out_channels=8,
        norm_num_groups=8,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        encoder_hid_dim=32,
        encoder_hid_dim_type="image_proj",
        addition_embed_type="image",
        attention_head_dim=8,
        resnet_time_scale_shift="scale_shift",
    )
    kind = KandinskyV22CombinedPipeline if channels == 4 else KandinskyV22InpaintCombinedPipeline
    return kind(
        unet=unet,
        scheduler=DDPMScheduler(
            beta_schedule="linear", beta_start=0.00085, beta_end=0.012, variance_type="fixed_small", clip_sample=False
        ),
        movq=movq(),
        **prior_of_kandinsky(),
    )


def prior_of_kandinsky() -> dict[str, Any]:
    """Return the components of Kandinsky's prior, which draws the picture's embedding, for 2.1 and 2.2."""
    from diffusers import PriorTransformer, UnCLIPScheduler
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    prior = PriorTransformer(
        num_attention_heads=2, attention_head_dim=16, num_layers=1, embedding_dim=32, num_embeddings=77, additional_embeddings=4
    ).eval()
    torch.nn.init.ones_(prior.clip_std)
    vision = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=64,
            patch_size=16,
            projection_dim=32,
        )
    ).eval()
    return {
        "prior_prior": prior,
        "prior_image_encoder": vision,
        "prior_text_encoder": text_encoder(projected=True),
        "prior_tokenizer": tokenizer(),
        "prior_scheduler": UnCLIPScheduler(
            variance_type="fixed_small_log", prediction_type="sample", num_train_timesteps=1000, clip_sample_range=5.0
        ),
        "prior_image_processor": CLIPImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}),
    }


def _x2_upscaler() -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionLatentUpscalePipeline

    unet = _unet(
        in_channels=8,
        out_channels=5,
        block_out_channels=(32, 64, 64),
        layers_per_block=1,
        norm_num_groups=None,
        act_fn="gelu",
        down_block_types=("KDownBlock2D", "KCrossAttnDownBlock2D", "KCrossAttnDownBlock2D"),
        mid_block_type=None,
        up_block_types=("KCrossAttnUpBlock2D", "KCrossAttnUpBlock2D", "KUpBlock2D"),
        attention_head_dim=16,
        conv_in_kernel=1,
        conv_out_kernel=1,
        time_cond_proj_dim=128 + 32,
        time_embedding_type="fourier",
        timestep_post_act="gelu",
        resnet_time_scale_shift="scale_shift",
    )
    return StableDiffusionLatentUpscalePipeline(
        vae=vae(),
        text_encoder=text_encoder(),
        tokenizer=tokenizer(),
        unet=unet,
        scheduler=EulerDiscreteScheduler(prediction_type="sample", **_BETAS),
    )


def _x4_upscaler() -> Any:
    from diffusers import DDIMScheduler, DDPMScheduler, StableDiffusionUpscalePipeline

    betas: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.0001, "beta_end": 0.02}
    return StableDiffusionUpscalePipeline(
        vae=vae(block_out_channels=(8, 8, 16), scaling_factor=0.08333, mid_block_add_attention=False),
        text_encoder=text_encoder(),
        tokenizer=tokenizer(),
        unet=_unet(in_channels=7, num_class_embeds=1000),
        low_res_scheduler=DDPMScheduler(**betas),
        scheduler=DDIMScheduler(
            clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type="v_prediction", **betas
        ),
        max_noise_level=350,
    )


def _controlnet() -> Any:
    from diffusers import ControlNetModel, UNet2DConditionModel

    from nbdiffuse import embedded

    base = UNet2DConditionModel.from_pretrained(embedded.path("sd15") / "unet")
    model = ControlNetModel.from_unet(base, conditioning_embedding_out_channels=(8, 16, 24, 32))
    for block in (*model.controlnet_down_blocks, model.controlnet_mid_block):
        torch.nn.init.normal_(block.weight, std=0.05)
    return model


MAKERS = {
    "sdxl": lambda: sdxl(refiner=False),
    "sdxl-refiner": lambda: sdxl(refiner=True),
    "kandinsky22": kandinsky22,
    "x2-upscaler": _x2_upscaler,
    "x4-upscaler": _x4_upscaler,
    "controlnet-depth": _controlnet,
}


def write(name: str, directory: Path) -> Path:
    """Make one of `MAKERS`, seeded, and save it under a directory."""
    torch.manual_seed(0)
    target = directory / name
    MAKERS[name]().save_pretrained(target)
    return target
