"""Train `clip`: pictures and captions in one space, with CLIP's classes; the prompt score, and Kandinsky's image encoder.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision", 2021.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from ..world import STYLES, Scene, captions, sample
from .base import token_ids
from .loop import Plan, fit, training_device
from .renders import to_unit

SIDE = 64
WIDTH = 96
BATCH = 128


def new_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """Return an untrained CLIP of two layers for each side, projected to 96 numbers."""
    shape = {"hidden_size": WIDTH, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=77,
        projection_dim=WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **shape,
    )
    vision = CLIPVisionConfig(image_size=SIDE, patch_size=16, projection_dim=WIDTH, **shape)
    return CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=WIDTH))


def new_processor() -> CLIPImageProcessor:
    """Return what brings a picture to 64 x 64 pixels and CLIP's range."""
    return CLIPImageProcessor(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )


def _caption(scene: Scene, rng: Random) -> str:
    """Write a caption that sometimes leaves a part unsaid, so that short prompts score well too."""
    parts = [part if rng.random() < 0.85 else None for part in (scene.subject, scene.place, scene.palette)]
    return captions.assemble(rng, parts[0], parts[1], parts[2], scene.style)


def train(tokenizer: CLIPTokenizer, state_file: Path, steps: int, seed: int = 0, pool_size: int = 12000) -> CLIPModel:
    """Train on renders, a quarter of them in a style, with CLIP's own contrastive loss."""
    device = training_device()
    scenes, pictures = [], []
    for index in range(seed, seed + pool_size):
        scene = sample(index, SIDE, style=STYLES[index % 12] if index % 12 < len(STYLES) else None)
        pictures.append(np.asarray(scene.image))
        scenes.append(Scene(scene.seed, SIDE, scene.subject, scene.place, scene.palette, scene.style))
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    torch.manual_seed(seed)
    model = new_clip(tokenizer).to(device)

    def loss_of(model: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        chosen = torch.randint(len(images), (BATCH,), generator=generator)
        rng = Random(int(torch.randint(2**31, (1,), generator=generator)))
        ids = token_ids(tokenizer, [_caption(scenes[index], rng) for index in chosen.tolist()])
        pixels = to_unit(images[chosen])
        pixels = pixels + 0.1 * torch.rand(BATCH, 1, 1, 1, generator=generator) * torch.randn(pixels.shape, generator=generator)
        result: Tensor = model(input_ids=ids.to(device), pixel_values=pixels.to(device), return_loss=True).loss
        return result

    return fit(model, loss_of, Plan(steps=steps, learning_rate=1e-3, averaging=0.995, seed=seed), state_file)
