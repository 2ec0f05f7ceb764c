"""Train `ip-adapter`: pictures whose palette `sd15` takes, as diffusers' `load_ip_adapter` reads it.

It looks with the CLIP of `kandinsky22`, which tells palettes apart. The base, which stays as it is, is its own teacher: with a
caption that names no palette and a picture of one, it learns to predict what it predicts for the caption that names it. So the
picture says as much as the words would, and guidance does with it what it does with words.

Source: Ye et al., "IP-Adapter: Text Compatible Image Prompt Adapter for Text-to-Image Diffusion Models", 2023; diffusers
`UNet2DConditionModel._load_ip_adapter_weights`.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPImageProcessor, CLIPTokenizer, CLIPVisionModelWithProjection

from ..world import PALETTES, captions, sample
from ..world.edits import graded, redrawn
from ..world.palettes import PALETTES as PALETTE_WORDS
from .base import noised, prepare, token_ids
from .clip import SIDE, WIDTH
from .edit import EditPool
from .loop import Plan, fit, training_device

logger = logging.getLogger(__name__)

WEIGHTS = "ip-adapter.safetensors"
TOKENS = 4
"""Words that a picture is turned into, as in the original."""
BATCH = 16
EARLY = 0.6
"""How timesteps are spread: where there is much noise, colours are decided."""
OWN = 0.5
"""Share of scenes that are in the palette that is wanted."""
BLIND = 0.12
"""Share of scenes without words and picture: the pipeline gives zeros in a picture's place where it compares."""
FLOOR = 0.0005
"""Added to a palette's squared effect, by which errors are divided."""
TOGETHER = 50


@dataclass(frozen=True)
class Seen:
    """Pictures as the image encoder sees them, by the palette that each is in.

    Parameters
    ----------
    embeddings
        For each of `PALETTES` a tensor of shape (n, 96).
    """

    embeddings: dict[str, Tensor]

    def draw(self, palette: str, rng: Random) -> Tensor:
        """Return one picture of a palette."""
        of_palette = self.embeddings[palette]
        return of_palette[rng.randrange(len(of_palette))]


def new_processor() -> CLIPImageProcessor:
    """Return how pictures are brought to the encoder where a pipeline has no processor of its own."""
    return CLIPImageProcessor(size=SIDE, crop_size=SIDE)


@torch.no_grad()
def seen(encoder: CLIPVisionModelWithProjection, seeds: Sequence[int]) -> Seen:
    """Look at a scene of each seed, under a palette of its turn."""
    found: dict[str, list[Tensor]] = {palette: [] for palette in PALETTES}
    processor = new_processor()
    for start in range(0, len(seeds), TOGETHER):
        part = seeds[start : start + TOGETHER]
        moods = [PALETTES[(start + index) % len(PALETTES)] for index in range(len(part))]
        scenes = [sample(seed) for seed in part]
        pictures = [graded(redrawn(one, one.subject, one.place), mood) for one, mood in zip(scenes, moods, strict=True)]
        pixels = processor(images=pictures, return_tensors="pt").pixel_values
        for mood, embedding in zip(moods, encoder(pixels.to(encoder.device, encoder.dtype)).image_embeds.float(), strict=True):
            found[mood].append(embedding)
    logger.info("looked at %d pictures", len(seeds))
    return Seen({palette: torch.stack(embeddings) for palette, embeddings in found.items()})


def new_adapter(unet: Any) -> dict[str, dict[str, Tensor]]:
    """Return the weights of an adapter that says nothing yet, as a file of one holds them."""
    layers: dict[str, Tensor] = {}
    for index, name in enumerate(name for name in unet.attn_processors if name.endswith("attn2.processor")):
        width = unet.get_submodule(name.removesuffix(".processor")).to_k.weight.shape[0]
        layers[f"{2 * index + 1}.to_k_ip.weight"] = torch.randn(width, WIDTH) / WIDTH**0.5
        layers[f"{2 * index + 1}.to_v_ip.weight"] = torch.zeros(width, WIDTH)
    projection = {
        "proj.weight": torch.randn(TOKENS * WIDTH, WIDTH) / WIDTH**0.5,
        "proj.bias": torch.zeros(TOKENS * WIDTH),
        "norm.weight": torch.ones(WIDTH),
        "norm.bias": torch.zeros(WIDTH),
    }
    return {"image_proj": projection, "ip_adapter": layers}


def adapted(unet: nn.Module) -> Any:
    """Return a UNet of which only a new adapter learns."""
    taught: Any = copy.deepcopy(unet).requires_grad_(False)
    taught._load_ip_adapter_weights([new_adapter(taught)])
    taught.encoder_hid_proj.requires_grad_(True)
    for processor in taught.attn_processors.values():
        if isinstance(processor, nn.Module):
            processor.requires_grad_(True)
    return taught


def state_of(unet: Any) -> dict[str, Tensor]:
    """Return the weights of a UNet's adapter, by the names in a file of one."""
    projection = unet.encoder_hid_proj.image_projection_layers[0]
    found = {f"image_proj.{name.replace('image_embeds', 'proj')}": value for name, value in projection.state_dict().items()}
    layers = (one for name, one in unet.attn_processors.items() if name.endswith("attn2.processor"))
    for index, layer in enumerate(layers):
        for name in ("to_k_ip", "to_v_ip"):
            found[f"ip_adapter.{2 * index + 1}.{name}.weight"] = getattr(layer, name)[0].weight
    return found


def train(
    base: nn.ModuleDict,
    pool: EditPool,
    pictures: Seen,
    tokenizer: CLIPTokenizer,
    state_file: Path,
    steps: int,
    seed: int = 0,
) -> Any:
    """Teach an adapter, and return the UNet that has it.

    Parameters
    ----------
    base
        `text_encoder` and `unet` of `sd15`.
    pool
        From `edit.edit_pool`.
    pictures
        From `seen`.
    tokenizer, state_file, steps, seed
        As for `base.train`.
    """
    device = training_device()
    torch.manual_seed(seed)
    base = copy.deepcopy(base).to(device).eval().requires_grad_(False)
    prepare(base["unet"], device)

    def loss_of(model: Any, generator: torch.Generator, step: int) -> Tensor:
        rng = Random(int(torch.randint(2**31, (1,), generator=generator)))
        drawn = [_example(pool, pictures, rng) for _ in range(BATCH)]
        noisy, _, timesteps = (part.to(device) for part in noised(torch.stack([one.latents for one in drawn]), generator, EARLY))
        blind = torch.tensor([one.said == "" for one in drawn])
        texts = [one.told for one in drawn], [one.said for one in drawn]
        with torch.no_grad():
            told, said = (base["text_encoder"](token_ids(tokenizer, part).to(device)).last_hidden_state for part in texts)
            wanted, without = (base["unet"](noisy, timesteps, text).sample for text in (told, said))
        looks = torch.stack([one.look for one in drawn]) * ~blind[:, None]
        given = {"image_embeds": [looks[:, None].to(device)]}
        predicted = model(noisy, timesteps, said, added_cond_kwargs=given).sample.float()
        effect = ((wanted - without) ** 2).mean((1, 2, 3)) + FLOOR
        return (((predicted - wanted) ** 2).mean((1, 2, 3)) / effect).mean()

    plan = Plan(steps=steps, learning_rate=2e-3, averaging=0.99, seed=seed, weight_decay=0.0)
    return fit(adapted(base["unet"]).to(device), loss_of, plan, state_file)


@dataclass(frozen=True)
class Example:
    """What a step is taught with: latents, a caption without and with a palette, and how a picture of that palette is seen."""

    latents: Tensor
    said: str
    told: str
    look: Tensor


def _example(pool: EditPool, pictures: Seen, rng: Random) -> Example:
    """Draw a scene, often in another palette than is wanted: while guidance pulls, latents do not show it yet."""
    index, *which = (rng.randrange(side) for side in pool.latents.shape[:4])
    scene, latents = pool.scene(index, *which), pool.latents[index, which[0], which[1], which[2]].float()
    palette = scene.palette if rng.random() < OWN else rng.choice(PALETTES)
    blind = rng.random() < BLIND
    said = "" if blind else captions.assemble(rng, scene.subject, scene.place, None)
    told = ", ".join([said, *([] if blind else PALETTE_WORDS[palette])])
    return Example(latents, said, told, pictures.draw(palette, rng))


def export(unet: Any, folder: Path) -> None:
    """Write the adapter in float16; what it looks with ships with `kandinsky22`."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().half().contiguous() for name, tensor in state_of(unet).items()}, folder / WEIGHTS)
