"""A tiny Stable Diffusion 3 checkpoint of the real classes, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from tiny import text_encoder, tokenizer

SIDE = 64
"""Side of its pictures, in pixels."""


def build(directory: Path) -> Path:
    """Save the checkpoint in diffusers' layout; 1.5 MB."""
    torch.manual_seed(0)
    made().save_pretrained(directory)
    return directory


def made() -> Any:
    """Return the pipeline."""
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=SIDE // 8,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=64,
        caption_projection_dim=32,
        pooled_projection_dim=64,
        pos_embed_max_size=16,
    )
    vae = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=16,
        sample_size=SIDE,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.0609,
        scaling_factor=1.5305,
    )
    letters = [chr(code) for code in range(33, 127)]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((one, -3.0) for one in letters)]
    t5_tokenizer = transformers.T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)
    t5 = transformers.T5EncoderModel(
        transformers.T5Config(vocab_size=len(t5_tokenizer), d_model=64, d_kv=16, d_ff=64, num_layers=1, num_heads=2)
    )
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer.eval(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae.eval(),
        text_encoder=text_encoder(projected=True),
        tokenizer=tokenizer(),
        text_encoder_2=text_encoder(projected=True),
        tokenizer_2=tokenizer(),
        text_encoder_3=t5.eval(),
        tokenizer_3=t5_tokenizer,
    )
