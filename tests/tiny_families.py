"""Tiny checkpoints of the real classes with random weights, for the families whose weights do not come with the package."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import tiny
import torch
import transformers

_LETTERS = [chr(code) for code in range(33, 127)]
_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_BETAS: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def _t5_tokenizer() -> Any:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((one, -3.0) for one in _LETTERS)]
    return transformers.T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


def _t5() -> Any:
    config = transformers.T5Config(
        vocab_size=len(_t5_tokenizer()), d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2, feed_forward_proj="gated-gelu"
    )
    return transformers.T5EncoderModel(config).eval()


def _qwen_tokenizer() -> Any:
    from tokenizers import pre_tokenizers

    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *special]
    made = transformers.Qwen2Tokenizer(
        vocab={word: index for index, word in enumerate(words)},
        merges=[],
        additional_special_tokens=list(special[1:]),
        model_max_length=4096,
        chat_template=_CHAT,
    )
    made.padding_side = "right"
    return made


def _qwen3() -> Any:
    config = transformers.Qwen3Config(
        vocab_size=len(_qwen_tokenizer()),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=4096,
    )
    return transformers.Qwen3Model(config).eval()


def _qwen25() -> Any:
    words = len(_qwen_tokenizer())
    text = {
        "vocab_size": words,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e6},
    }
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": 16,
        "patch_size": 14,
        "window_size": 56,
        "fullatt_block_indexes": [0],
    }
    config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision, vocab_size=words)
    return transformers.Qwen2_5_VLForConditionalGeneration(config).eval()


def _kl(**more: Any) -> Any:
    return tiny.vae(block_out_channels=(8, 8, 8, 8), scaling_factor=0.3611, shift_factor=0.1159, **more)


def _flow(dynamic: bool = True) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0 if dynamic else 1.0, use_dynamic_shifting=dynamic)


_PACKED: dict[str, Any] = {
    "patch_size": 1,
    "in_channels": 16,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 32,
    "axes_dims_rope": (4, 4, 8),
}


def _flux(guidance: bool) -> Any:
    """Return Flux dev, which takes its guidance as an embedding, or schnell, which takes none."""
    return diffusers.FluxPipeline(
        scheduler=_flow(dynamic=guidance),
        vae=_kl(),
        text_encoder=tiny.text_encoder(),
        tokenizer=tiny.tokenizer(),
        text_encoder_2=_t5(),
        tokenizer_2=_t5_tokenizer(),
        transformer=diffusers.FluxTransformer2DModel(pooled_projection_dim=32, guidance_embeds=guidance, **_PACKED).eval(),
    )


def _chroma() -> Any:
    transformer = diffusers.ChromaTransformer2DModel(
        approximator_hidden_dim=32, approximator_layers=1, approximator_num_channels=16, **_PACKED
    )
    return diffusers.ChromaPipeline(
        scheduler=_flow(dynamic=False),
        vae=_kl(),
        text_encoder=_t5(),
        tokenizer=_t5_tokenizer(),
        transformer=transformer.eval(),
    )


def _qwen_image() -> Any:
    transformer = diffusers.QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        guidance_embeds=False,
        axes_dims_rope=(8, 4, 4),
    )
    vae = diffusers.AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.1] * 4,
        latents_std=[2.0] * 4,
    )
    return diffusers.QwenImagePipeline(
        scheduler=_flow(), vae=vae.eval(), text_encoder=_qwen25(), tokenizer=_qwen_tokenizer(), transformer=transformer.eval()
    )


def _z_image() -> Any:
    transformer = diffusers.ZImageTransformer2DModel(
        all_patch_size=(2,),
        all_f_patch_size=(1,),
        in_channels=4,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[8, 4, 4],
        axes_lens=[1024, 32, 32],
    )
    return diffusers.ZImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_kl(),
        text_encoder=_qwen3(),
        tokenizer=_qwen_tokenizer(),
        transformer=transformer.eval(),
    )


def _lcm() -> Any:
    """Return a latent consistency model, whose UNet takes the guidance as an embedding."""
    return diffusers.LatentConsistencyModelPipeline(
        vae=tiny.vae(),
        text_encoder=tiny.text_encoder(),
        tokenizer=tiny.tokenizer(),
        unet=tiny._unet(time_cond_proj_dim=16),
        scheduler=diffusers.LCMScheduler(clip_sample=False, set_alpha_to_one=False, **_BETAS),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _stable_diffusion(kind: str = "StableDiffusionPipeline", **unet: Any) -> Any:
    return getattr(diffusers, kind)(
        vae=tiny.vae(),
        text_encoder=tiny.text_encoder(),
        tokenizer=tiny.tokenizer(),
        unet=tiny._unet(**unet),
        scheduler=diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1, **_BETAS),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _controlnet(kind: str = "ControlNetModel", **more: Any) -> Any:
    given = {"block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 8, "attention_head_dim": 2, **more}
    made = getattr(diffusers, kind)(
        in_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        conditioning_embedding_out_channels=(4, 8, 8, 16),
        **given,
    )
    return _with_effect(made)


def _with_effect(net: Any) -> Any:
    """Return a ControlNet whose layers of zeros, as it starts to be trained, are drawn."""
    for block in (*net.controlnet_down_blocks, net.controlnet_mid_block):
        torch.nn.init.normal_(block.weight, std=0.05)
    return net.eval()


_XL: dict[str, Any] = {
    "cross_attention_dim": 64,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 32 + 6 * 8,
}


_TYPES: dict[str, Any] = {"num_trans_channel": 16, "num_trans_head": 2, "num_proj_channel": 16}


def _kandinsky21(channels: int = 4) -> Any:
    from diffusers.pipelines.kandinsky.text_encoder import MCLIPConfig, MultilingualCLIP

    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((one, -3.0) for one in _LETTERS)]
    text = MCLIPConfig(
        numDims=32,
        transformerDimensions=32,
        hidden_size=32,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
        vocab_size=600,
        max_position_embeddings=520,
        pad_token_id=1,
    )
    unet = tiny._unet(
        in_channels=channels,
        out_channels=8,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        encoder_hid_dim=32,
        encoder_hid_dim_type="text_image_proj",
        addition_embed_type="text_image",
        attention_head_dim=8,
        resnet_time_scale_shift="scale_shift",
    )
    scheduler = diffusers.DDIMScheduler(
        beta_schedule="linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    kind = diffusers.KandinskyCombinedPipeline if channels == 4 else diffusers.KandinskyInpaintCombinedPipeline
    return kind(
        text_encoder=MultilingualCLIP(text).eval(),
        tokenizer=transformers.XLMRobertaTokenizer(vocab=pieces, model_max_length=77),
        unet=unet,
        movq=tiny.movq(),
        scheduler=scheduler,
        **tiny.prior_of_kandinsky(),
    )


def _kandinsky3() -> Any:
    unet = diffusers.Kandinsky3UNet(
        in_channels=4,
        time_embedding_dim=4,
        groups=2,
        attention_head_dim=4,
        layers_per_block=3,
        block_out_channels=(32, 64),
        cross_attention_dim=4,
        encoder_hid_dim=32,
    )
    scheduler = diffusers.DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, steps_offset=1, beta_schedule="squaredcos_cap_v2", clip_sample=True
    )
    return diffusers.Kandinsky3Pipeline(
        unet=unet.eval(), scheduler=scheduler, movq=tiny.movq(), text_encoder=_t5(), tokenizer=_t5_tokenizer()
    )


MAKERS: dict[str, Callable[[], Any]] = {
    "flux-dev": lambda: _flux(guidance=True),
    "flux-schnell": lambda: _flux(guidance=False),
    "qwenimage": _qwen_image,
    "z-image": _z_image,
    "chroma": _chroma,
    "lcm": _lcm,
    "kandinsky21": _kandinsky21,
    "kandinsky3": _kandinsky3,
    "sd": _stable_diffusion,
    "sd-controlnet": lambda: _controlnet(cross_attention_dim=32),
    "sdxl-controlnet": lambda: _controlnet(**_XL),
    "sdxl-controlnet-union": lambda: _controlnet("ControlNetUnionModel", **_XL, **_TYPES),
    "sd-inpainting": lambda: _stable_diffusion("StableDiffusionInpaintPipeline", in_channels=9),
    "sdxl": lambda: tiny.sdxl(refiner=False),
    "sdxl-instruct-pix2pix": lambda: tiny.sdxl(refiner=False, in_channels=8),
    "sdxl-inpainting": lambda: tiny.sdxl(refiner=False, in_channels=9),
    "kandinsky21-inpainting": lambda: _kandinsky21(channels=9),
    "kandinsky22-inpainting": lambda: tiny.kandinsky22(channels=9),
}
"""What makes the pipeline, or the ControlNet, that each checkpoint is saved from."""


def write(name: str, directory: Path) -> Path:
    """Make one of `MAKERS`, or of `tiny_flows`, seeded, and save it under a directory, unless it is there already."""
    import tiny_flows

    target = directory / name
    if not (target / "model_index.json").is_file() and not (target / "config.json").is_file():
        torch.manual_seed(0)
        {**MAKERS, **tiny_flows.MAKERS}[name]().save_pretrained(target)
    return target


def version() -> str:
    """Return what changes when the checkpoints do: this file, and the libraries that write them."""
    import tiny_flows

    told = b"".join(Path(str(module)).read_bytes() for module in (__file__, tiny.__file__, tiny_flows.__file__))
    libraries = f"{torch.__version__} {diffusers.__version__} {transformers.__version__}"
    return hashlib.sha256(told + libraries.encode()).hexdigest()[:12]
