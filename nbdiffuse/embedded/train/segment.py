"""Train `segmenter`: where a picture shows what a word says, with CLIPSeg's classes, on the exact masks of the drawn world.

Source: Lüddecke and Ecker, "Image Segmentation Using Text and Image Prompts", 2022; transformers `CLIPSegForImageSegmentation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import (
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPSegTextConfig,
    CLIPSegVisionConfig,
    CLIPTokenizer,
    DepthAnythingForDepthEstimation,
    ViTImageProcessor,
)

from ..world import PARTS, STYLES, SUBJECTS, sample
from .judge import seen_through
from .loop import Plan, fit, training_device
from .renders import to_unit

SIDE = 128
GRID = 64
"""Side of the masks that the decoder draws, in pixels."""
BATCH = 12
ASKED = 3
"""Words about each picture of a batch: at least two of them ask for what is there."""
WORDS: Mapping[str, str] = {
    **{subject: subject for subject in SUBJECTS},
    **{part: part for part in PARTS},
    "sea": "water",
    "ocean": "water",
    "city": "buildings",
    "building": "buildings",
    "mountain": "mountains",
    "cloud": "clouds",
}
"""What it can be asked for, and which part of a scene that is."""
DEVIATION = 0.16
"""Of the tokens that the eyes are given where they come from: CLIP makes it 1 where nothing is said."""
OPENINGS = ("", "", "a ", "the ", "a photo of a ")


def new_segmenter(tokenizer: CLIPTokenizer) -> CLIPSegForImageSegmentation:
    """Return an untrained segmenter for pictures of 128 pixels; its config says which words it knows."""
    text = CLIPSegTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=4,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPSegVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=8,
        hidden_act="gelu",
    )
    config = CLIPSegConfig(
        text_config=text.to_dict(),
        vision_config=vision.to_dict(),
        projection_dim=64,
        extract_layers=[1, 3],
        reduce_dim=64,
        decoder_intermediate_size=128,
        use_complex_transposed_convolution=True,
        id2label=dict(enumerate(WORDS)),
    )
    model = CLIPSegForImageSegmentation(config)
    for module in model.decoder.modules():
        # transformers leaves what only this class has at a deviation of 1, whose logits are in the hundreds.
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            module.reset_parameters()
    return model


@torch.no_grad()
def begin(model: CLIPSegForImageSegmentation, seer: DepthAnythingForDepthEstimation) -> None:
    """Give a segmenter the eyes of `depth-estimator`, whose layers are of the same shape: what is near is mostly a subject."""
    own, vision = model.clip.vision_model, seer.backbone
    seen = vision.embeddings
    own.embeddings.patch_embedding.weight.copy_(seen.patch_embeddings.projection.weight)
    places = own.embeddings.position_embedding.weight
    places.copy_(seen.position_embeddings[0])
    places[1:] += seen.patch_embeddings.projection.bias
    own.embeddings.class_embedding.copy_(seen.cls_token[0, 0])
    own.pre_layrnorm.weight.fill_(DEVIATION)
    for layer, other in zip(own.encoder.layers, vision.encoder.layer, strict=True):
        layer.load_state_dict(_layer_weights(other))


def _layer_weights(other: nn.Module) -> dict[str, Tensor]:
    """Return the weights of one of DINOv2's layers by the names that they have in CLIP, which has no scales of its own."""
    given = other.state_dict()
    names = {
        "layer_norm1": "norm1",
        "layer_norm2": "norm2",
        **{f"self_attn.{name}_proj": f"attention.{name}_proj" for name in "qkv"},
        "self_attn.out_proj": "attention.o_proj",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    }
    made = {f"{own}.{kind}": given[f"{its}.{kind}"].clone() for own, its in names.items() for kind in ("weight", "bias")}
    for own, scale in (("self_attn.out_proj", "layer_scale1.lambda1"), ("mlp.fc2", "layer_scale2.lambda1")):
        made[f"{own}.weight"] *= given[scale][:, None]
        made[f"{own}.bias"] *= given[scale]
    return made


def new_processor() -> ViTImageProcessor:
    """Return what brings any picture to the segmenter's size and range."""
    return ViTImageProcessor(size={"height": SIDE, "width": SIDE}, resample=3, image_mean=[0.5] * 3, image_std=[0.5] * 3)


@dataclass(frozen=True)
class MaskPool:
    """Pictures, uint8 of shape (n, 3, side, side), and of each the masks of its parts, bool of shape (grid, grid), by part."""

    pictures: Tensor
    masks: list[dict[str, Tensor]]


def mask_pool(vae: AutoencoderKL, seeds: range) -> MaskPool:
    """Render scenes, a third of them in a style and a sixth as the VAE shows them, and the masks of what is in them."""
    pictures, masks = [], []
    for seed in seeds:
        style = STYLES[seed % 9] if seed % 9 < len(STYLES) else None
        scene = sample(seed, SIDE, style=style)
        pictures.append(np.asarray(scene.image))
        small = replace(scene, size=GRID)
        found = {part: np.asarray(small.mask_of(part)) > 127 for part in (*SUBJECTS, *PARTS)}
        masks.append({part: torch.from_numpy(mask) for part, mask in found.items() if mask.any()})
    pool = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    pool[::6] = seen_through(vae, pool[::6])
    return MaskPool(pool, masks)


def asked(masks: Mapping[str, Tensor], rng: Random) -> list[tuple[str, Tensor]]:
    """Draw words about one picture, each with the mask of what it asks for: its subject, a part that is there, and any others."""
    there = [word for word, part in WORDS.items() if part in masks]
    named = [word for word in there if word in SUBJECTS]
    words = [rng.choice([*named, "subject"]), rng.choice(there), *rng.sample(list(WORDS), ASKED - 2)]
    nothing = torch.zeros(GRID, GRID, dtype=torch.bool)
    return [(rng.choice(OPENINGS) + word, masks.get(WORDS[word], nothing)) for word in words]


def logits_of(model: Any, pixels: Tensor, ids: Tensor) -> Tensor:
    """Return what a segmenter draws, shape (n * k, grid, grid), for n pictures and k texts about each.

    The model's own `forward` keeps gradients from all but its decoder.
    """
    seen = model.clip.vision_model(pixels, output_hidden_states=True, interpolate_pos_encoding=False).hidden_states
    count = len(ids) // len(pixels)
    activations = [seen[layer + 1].repeat_interleave(count, dim=0) for layer in model.extract_layers]
    text = model.clip.text_projection(model.clip.text_model(ids).pooler_output)
    logits: Tensor = model.decoder(activations, text).logits
    return logits


def kept_pool(vae: AutoencoderKL, seeds: range, file: Path) -> MaskPool:
    """Return a pool from its file, or make it and keep it there."""
    if not file.exists():
        made = mask_pool(vae, seeds)
        torch.save({"pictures": made.pictures, "masks": made.masks}, file)
    return MaskPool(**torch.load(file, weights_only=True))


def train(
    seer: DepthAnythingForDepthEstimation,
    pool: MaskPool,
    tokenizer: CLIPTokenizer,
    state_file: Path,
    steps: int,
    seed: int = 0,
) -> nn.Module:
    """Train on renders and exact masks, by cross-entropy and by how much the masks overlap.

    Parameters
    ----------
    seer
        `depth-estimator`, from which it begins.
    pool
        From `mask_pool`.
    tokenizer, state_file, steps, seed
        As for `base.train`.
    """
    device = training_device()
    torch.manual_seed(seed)
    model = new_segmenter(tokenizer)
    begin(model, seer)
    model = model.to(device)

    def loss_of(model: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        rng = Random(int(torch.randint(2**31, (1,), generator=generator)))
        chosen = torch.randint(len(pool.masks), (BATCH,), generator=generator)
        pixels = to_unit(pool.pictures[chosen])
        pixels = pixels + 0.1 * torch.rand(BATCH, 1, 1, 1, generator=generator) * torch.randn(pixels.shape, generator=generator)
        pairs = [pair for index in chosen.tolist() for pair in asked(pool.masks[index], rng)]
        ids = tokenizer([text for text, _ in pairs], padding=True, return_tensors="pt").input_ids
        wanted = torch.stack([mask for _, mask in pairs]).float().to(device)
        logits = logits_of(model, pixels.to(device), ids.to(device)).float()
        drawn = logits.sigmoid()
        both, either = (drawn * wanted).sum((1, 2)), (drawn + wanted).sum((1, 2))
        overlap = 1 - (2 * both + 1) / (either + 1)
        return nn.functional.binary_cross_entropy_with_logits(logits, wanted) + 0.2 * overlap.mean()

    return fit(model, loss_of, Plan(steps=steps, learning_rate=1.5e-3, averaging=0.995, seed=seed), state_file)
