"""The guide's models at the sizes of the originals, with random weights: nothing is downloaded.

Widths and depths are those of the published configs; a `part` divides the widths.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    DDPMScheduler,
    EulerDiscreteScheduler,
    KandinskyV22CombinedPipeline,
    PNDMScheduler,
    PriorTransformer,
    StableDiffusionLatentUpscalePipeline,
    StableDiffusionPipeline,
    StableDiffusionUpscalePipeline,
    StableDiffusionXLImg2ImgPipeline,
    UnCLIPScheduler,
    UNet2DConditionModel,
    VQModel,
)
from transformers import (
    CLIPImageProcessorPil,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from nbdiffuse import embedded

_BETAS: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def _tokenizer() -> Any:
    """Return the embedded base's tokenizer; the original's is of the same class, with more words."""
    return CLIPTokenizer.from_pretrained(embedded.path("sd15") / "tokenizer")


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


def _vae(size: int, part: int, widths: tuple[int, ...] = (128, 256, 512, 512), **more: Any) -> AutoencoderKL:
    return AutoencoderKL(
        sample_size=size,
        block_out_channels=tuple(width // part for width in widths),
        layers_per_block=2,
        norm_num_groups=32 // part,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
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
    tokenizer = _tokenizer()
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
    tokenizer = _tokenizer()
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


def kandinsky22(part: int) -> KandinskyV22CombinedPipeline:
    """Build Kandinsky 2.2, prior and decoder; widths are divided by `part`."""
    tokenizer, width = _tokenizer(), 1280 // part
    unet = UNet2DConditionModel(
        sample_size=64,
        in_channels=4,
        out_channels=8,
        layers_per_block=3,
        block_out_channels=tuple(one // part for one in (384, 768, 1152, 1536)),
        norm_num_groups=32 // part,
        down_block_types=("ResnetDownsampleBlock2D", *("SimpleCrossAttnDownBlock2D",) * 3),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=(*("SimpleCrossAttnUpBlock2D",) * 3, "ResnetUpsampleBlock2D"),
        attention_head_dim=64 // part,
        cross_attention_dim=768 // part,
        encoder_hid_dim=width,
        encoder_hid_dim_type="image_proj",
        addition_embed_type="image",
        resnet_time_scale_shift="scale_shift",
    )
    movq = VQModel(
        latent_channels=4,
        vq_embed_dim=4,
        num_vq_embeddings=16384,
        norm_type="spatial",
        norm_num_groups=32 // part,
        # Its spatial norms have 32 groups at every width.
        block_out_channels=tuple(max(32, one // part) for one in (128, 256, 256, 512)),
        layers_per_block=2,
        down_block_types=(*("DownEncoderBlock2D",) * 3, "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", *("UpDecoderBlock2D",) * 3),
    )
    prior = PriorTransformer(
        num_attention_heads=32, attention_head_dim=64 // part, num_layers=20, embedding_dim=width, additional_embeddings=4
    )
    torch.nn.init.ones_(prior.clip_std)
    vision = CLIPVisionConfig(
        hidden_size=1664 // part,
        intermediate_size=8192 // part,
        num_hidden_layers=48,
        num_attention_heads=16,
        image_size=224,
        patch_size=14,
        projection_dim=width,
        hidden_act="gelu",
    )
    betas: dict[str, Any] = {"beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012}
    drawn: dict[str, Any] = {"variance_type": "fixed_small_log", "prediction_type": "sample", "clip_sample_range": 5.0}
    return KandinskyV22CombinedPipeline(
        unet=unet,
        scheduler=DDPMScheduler(variance_type="learned_range", clip_sample=False, **betas),
        movq=movq,
        prior_prior=prior,
        prior_image_encoder=CLIPVisionModelWithProjection(vision),
        prior_text_encoder=CLIPTextModelWithProjection(_text_config(tokenizer, width, 32, 20, "gelu")),
        prior_tokenizer=tokenizer,
        prior_scheduler=UnCLIPScheduler(num_train_timesteps=1000, **drawn),
        prior_image_processor=CLIPImageProcessorPil(size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224}),
    )


def x2_upscaler(part: int) -> StableDiffusionLatentUpscalePipeline:
    """Build the latent x2 upscaler; widths are divided by `part`."""
    tokenizer = _tokenizer()
    unet = UNet2DConditionModel(
        sample_size=128,
        in_channels=8,
        out_channels=5,
        layers_per_block=4,
        block_out_channels=tuple(one // part for one in (384, 384, 768, 768)),
        norm_num_groups=None,
        act_fn="gelu",
        down_block_types=("KDownBlock2D", *("KCrossAttnDownBlock2D",) * 3),
        mid_block_type=None,
        up_block_types=(*("KCrossAttnUpBlock2D",) * 3, "KUpBlock2D"),
        attention_head_dim=64 // part,
        cross_attention_dim=768 // part,
        conv_in_kernel=1,
        conv_out_kernel=1,
        time_cond_proj_dim=128 + 768 // part,
        time_embedding_type="fourier",
        timestep_post_act="gelu",
        resnet_time_scale_shift="scale_shift",
    )
    return StableDiffusionLatentUpscalePipeline(
        vae=_vae(512, part),
        text_encoder=CLIPTextModel(_text_config(tokenizer, 768 // part, 12, 12, "quick_gelu")),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=EulerDiscreteScheduler(prediction_type="sample", **_BETAS),
    )


def x4_upscaler(part: int) -> StableDiffusionUpscalePipeline:
    """Build the x4 upscaler; widths are divided by `part`."""
    tokenizer, width = _tokenizer(), 1024 // part
    unet = UNet2DConditionModel(
        sample_size=128,
        in_channels=7,
        out_channels=4,
        block_out_channels=tuple(one // part for one in (256, 512, 512, 1024)),
        norm_num_groups=32 // part,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
        up_block_types=(*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
        attention_head_dim=8,
        cross_attention_dim=width,
        only_cross_attention=(True, True, True, False),
        num_class_embeds=1000,
        use_linear_projection=True,
    )
    betas: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.0001, "beta_end": 0.02}
    stepping: dict[str, Any] = {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
    return StableDiffusionUpscalePipeline(
        vae=_vae(256, part, (128, 256, 512), scaling_factor=0.08333),
        text_encoder=CLIPTextModel(_text_config(tokenizer, width, 23, 16, "gelu")),
        tokenizer=tokenizer,
        unet=unet,
        low_res_scheduler=DDPMScheduler(**betas),
        scheduler=DDIMScheduler(prediction_type="v_prediction", **stepping, **betas),
        max_noise_level=350,
    )
