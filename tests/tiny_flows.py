"""Tiny checkpoints of transformers that edit, or redraw a masked part, beside those of `tiny_families`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import tiny_families
import tiny_sd3
import torch
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


def _control() -> Any:
    """Return Flux Control, whose transformer takes the control picture's latents beside those of what it draws."""
    parts = {name: part for name, part in tiny_families._flux(guidance=True).components.items() if part is not None}
    wide = {**tiny_families._PACKED, "in_channels": 2 * 16, "out_channels": 16}
    transformer = diffusers.FluxTransformer2DModel(pooled_projection_dim=32, guidance_embeds=True, **wide)
    kept = {name: part for name, part in parts.items() if name not in ("image_encoder", "feature_extractor")}
    return diffusers.FluxControlPipeline(**{**kept, "transformer": transformer.eval()})


_SEEN = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for part in message.content %}{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
)


def _qwen_edit(pipeline: str) -> Any:
    """Return Qwen-Image-Edit, whose text encoder reads the pictures, too; its processor needs torchvision."""
    from tokenizers import pre_tokenizers

    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *_SEEN)
    ids = {word: index for index, word in enumerate([*sorted(pre_tokenizers.ByteLevel.alphabet()), *special])}
    tokenizer = transformers.Qwen2Tokenizer(
        vocab=ids, merges=[], additional_special_tokens=list(special[1:]), model_max_length=4096, chat_template=_CHAT
    )
    tokenizer.padding_side = "right"
    config = tiny_families._qwen25().config
    config.text_config.vocab_size = config.vocab_size = len(tokenizer)
    for name, word in zip(("vision_start", "vision_end", "image", "video"), _SEEN, strict=True):
        setattr(config, f"{name}_token_id", ids[word])
    pictures = transformers.Qwen2VLImageProcessor(
        patch_size=14, temporal_patch_size=2, merge_size=2, size={"shortest_edge": 784, "longest_edge": 12544}
    )
    parts = tiny_families._qwen_image().components
    parts |= {
        "text_encoder": transformers.Qwen2_5_VLForConditionalGeneration(config).eval(),
        "tokenizer": tokenizer,
        "processor": transformers.Qwen2VLProcessor(
            image_processor=pictures,
            tokenizer=tokenizer,
            video_processor=transformers.Qwen2VLVideoProcessor(),
            chat_template=_CHAT,
        ),
    }
    return getattr(diffusers, pipeline)(**parts)


def _with_effect(net: Any, *names: str) -> Any:
    """Return a ControlNet whose layers of zeros, as it starts to be trained, are drawn."""
    for name, parameter in net.named_parameters():
        if not parameter.any() and (name.endswith("weight") or any(one in name for one in names)):
            torch.nn.init.normal_(parameter, std=0.05)
    return net.eval()


def _flux_controlnet(modes: int | None = None) -> Any:
    net = diffusers.FluxControlNetModel(pooled_projection_dim=32, guidance_embeds=True, num_mode=modes, **tiny_families._PACKED)
    return _with_effect(net)


def _sd3_controlnet() -> Any:
    net = diffusers.SD3ControlNetModel(
        sample_size=8,
        patch_size=2,
        in_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=64,
        caption_projection_dim=32,
        pooled_projection_dim=64,
        out_channels=16,
        pos_embed_max_size=16,
    )
    return _with_effect(net)


def _qwen_controlnet() -> Any:
    net = diffusers.QwenImageControlNetModel(
        in_channels=16,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(8, 4, 4),
    )
    return _with_effect(net)


def _z_controlnet(control_channels: int) -> Any:
    net = diffusers.ZImageControlNetModel(
        control_layers_places=[0],
        control_refiner_layers_places=[0],
        control_in_dim=control_channels,
        dim=32,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
    )
    return _with_effect(net)


CONTROLNETS: dict[str, Callable[[], Any]] = {
    "flux-controlnet": _flux_controlnet,
    "flux-controlnet-union": lambda: _flux_controlnet(3),
    "sd3-controlnet": _sd3_controlnet,
    "qwen-controlnet": _qwen_controlnet,
    "z-controlnet": lambda: _z_controlnet(4),
    "z-controlnet-inpaint": lambda: _z_controlnet(9),
}
MAKERS: dict[str, Callable[[], Any]] = {
    **CONTROLNETS,
    "sd3": tiny_sd3.made,
    "flux-kontext": _kontext,
    "flux2-klein": _klein,
    "flux-fill": _fill,
    "flux-control": _control,
    "qwen-edit": lambda: _qwen_edit("QwenImageEditPipeline"),
    "qwen-edit-plus": lambda: _qwen_edit("QwenImageEditPlusPipeline"),
}
