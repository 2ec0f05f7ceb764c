"""Train `lcm-lora`: a LoRA of `sd15`, in diffusers' own format, with which a few steps do what took many.

The teacher is `sd15` at the pipeline's own guidance scale. From noise it goes its way in small steps, and every point of the
way leads to the same picture; the student is taught to see that picture from each of the few points at which `LCMScheduler`
asks. Between its steps the scheduler adds new noise, so the student sees teacher's pictures and renders with new noise too.

Source: Luo et al., "Latent Consistency Models", 2023, and "LCM-LoRA", 2023; Song et al., "Consistency Models", 2023; diffusers
`LCMScheduler`.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import functional_call
from transformers import CLIPTokenizer

from ..world import sample
from .base import new_scheduler, prepare, token_ids
from .edit import EditPool
from .loop import Plan, fit, training_device
from .text import training_caption

logger = logging.getLogger(__name__)

RANK = 16
BATCH = 16
TOGETHER = 20
"""Ways that the teacher goes at once."""
KEPT_TOGETHER = 100
"""Ways in one file of the state."""
GUIDANCE_SCALE = 7.5
"""Of the teacher."""
LEVELS = (999, 879, 759, 639, 499, 379, 259, 139)
"""Timesteps at which `LCMScheduler` asks in 1, 2, 4 and 8 steps."""
BETWEEN = 3
"""The teacher's steps from each to the next."""
SILENT = 0.1
"""Share of pictures without words, so that guidance scales up to 2 serve as well."""
WEIGHTS = "pytorch_lora_weights.safetensors"
"""Where diffusers looks for a LoRA in a folder."""
PARTS = (
    "to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2", "conv_shortcut",
    "downsamplers.0.conv", "upsamplers.0.conv", "time_emb_proj",
)  # fmt: skip
"""Modules that a LoRA of this kind changes, by how their names end."""


class Adapter(nn.Module):
    """A LoRA of a UNet: a low-rank product for each matrix of attention, feed-forward and convolution.

    Parameters
    ----------
    base
        The UNet, with float32 weights; it stays as it is.
    rank
        Of the products, at least 1.
    """

    def __init__(self, base: nn.Module, rank: int = RANK) -> None:
        super().__init__()
        self.products = nn.ParameterDict()
        for name, module in base.named_modules():
            if name.endswith(PARTS) and isinstance(module, nn.Linear | nn.Conv2d):
                rows, *columns = module.weight.shape
                self.products[f"{name}.lora_B.weight".replace(".", "/")] = torch.zeros(rows, rank, *(1 for _ in columns[1:]))
                width = module.weight.numel() / rows
                self.products[f"{name}.lora_A.weight".replace(".", "/")] = torch.randn(rank, *columns) / width**0.5

    def tensors(self) -> dict[str, Tensor]:
        """Return the LoRA by the names that diffusers reads."""
        return {f"unet.{name.replace('/', '.')}": tensor for name, tensor in self.products.items()}

    def added_to(self, base: nn.Module) -> dict[str, Tensor]:
        """Return the weights of the changed module by their names."""
        weights = dict(base.state_dict())
        for name, up in self.products.items():
            if name.endswith("lora_B/weight"):
                down, whole = (
                    self.products[name.replace("lora_B", "lora_A")],
                    name.removesuffix("lora_B/weight").replace("/", "."),
                )
                weight = weights[f"{whole}weight"]
                weights[f"{whole}weight"] = weight + (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
        return weights


@dataclass(frozen=True)
class Ways:
    """Ways of the teacher from noise to a picture.

    Parameters
    ----------
    captions
        Of each.
    latents
        Shape (n, 1 + levels, 4, h, w), float16: at each of `LEVELS`, and the picture.
    """

    captions: list[str]
    latents: Tensor


@torch.no_grad()
def ways(base: nn.ModuleDict, tokenizer: CLIPTokenizer, seeds: range) -> Ways:
    """Let the teacher go from noise to a picture for each seed's caption; in between it takes deterministic steps."""
    device = training_device()
    base = copy.deepcopy(base).to(device).eval()
    prepare(base["unet"], device)
    captions = [sample(seed).captioned(Random(f"way {seed}")) for seed in seeds]
    alphas = new_scheduler().alphas_cumprod
    found = []
    for start in range(0, len(captions), TOGETHER):
        part = captions[start : start + TOGETHER]
        count = len(part)
        text = base["text_encoder"](token_ids(tokenizer, part + [""] * count).to(device)).last_hidden_state
        latents = torch.randn(count, 4, 16, 16, generator=torch.Generator().manual_seed(seeds[start])).to(device)
        seen = []
        for level, following in zip(LEVELS, [*LEVELS[1:], None], strict=True):
            seen.append(latents)
            stops = [level - round(index * (level - (following or 0)) / BETWEEN) for index in range(BETWEEN)]
            for now, then in zip(stops, [*stops[1:], following], strict=True):
                said, silent = base["unet"](latents.repeat(2, 1, 1, 1), now, text).sample.chunk(2)
                noise = silent + GUIDANCE_SCALE * (said - silent)
                picture = (latents - (1 - alphas[now]).sqrt() * noise) / alphas[now].sqrt()
                latents = picture if then is None else alphas[then].sqrt() * picture + (1 - alphas[then]).sqrt() * noise
        found.append(torch.stack([*seen, latents], dim=1).half().cpu())
        logger.info("went %d of %d ways", start + count, len(captions))
    return Ways(captions, torch.cat(found))


def kept_ways(base: nn.ModuleDict, tokenizer: CLIPTokenizer, seeds: range, state: Path) -> Ways:
    """Return ways from their files in a folder, or go them and keep them there, `KEPT_TOGETHER` in a file."""
    parts = []
    for start in range(0, len(seeds), KEPT_TOGETHER):
        part = seeds[start : start + KEPT_TOGETHER]
        file = state / f"lcm-ways-{part.start}.pt"
        if not file.exists():
            made = ways(base, tokenizer, part)
            torch.save({"captions": made.captions, "latents": made.latents}, file)
        parts.append(Ways(**torch.load(file, weights_only=True)))
    return Ways([caption for part in parts for caption in part.captions], torch.cat([part.latents for part in parts]))


def train(
    base: nn.ModuleDict,
    gone: Ways,
    pool: EditPool,
    tokenizer: CLIPTokenizer,
    state_file: Path,
    steps: int,
    seed: int = 0,
) -> Adapter:
    """Teach the LoRA.

    Parameters
    ----------
    base
        `text_encoder` and `unet` of `sd15`.
    gone
        From `ways`.
    pool
        Renders, from `edit.edit_pool`.
    tokenizer, state_file, steps, seed
        As for `base.train`.
    """
    device = training_device()
    torch.manual_seed(seed)
    base = copy.deepcopy(base).to(device).eval().requires_grad_(False)
    prepare(base["unet"], device)
    alphas = new_scheduler().alphas_cumprod[list(LEVELS)]

    def loss_of(model: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        rng = Random(int(torch.randint(2**31, (1,), generator=generator)))
        seen = zip(*(_seen(gone, pool, alphas, rng, generator) for _ in range(BATCH)), strict=True)
        inputs, targets, levels, said = (list(column) for column in seen)
        captions = ["" if rng.random() < SILENT else caption for caption in said]
        with torch.no_grad():
            text = base["text_encoder"](token_ids(tokenizer, captions).to(device)).last_hidden_state
        weights = model.added_to(base["unet"])  # type: ignore[operator]
        timesteps = torch.tensor([LEVELS[level] for level in levels], device=device)
        latents, pictures = (torch.stack(rows).to(device) for rows in (inputs, targets))
        noise = functional_call(base["unet"], weights, (latents, timesteps, text)).sample.float()
        alpha = alphas[levels].reshape(-1, 1, 1, 1).to(device)
        picture = (latents - (1 - alpha).sqrt() * noise) / alpha.sqrt()
        return nn.functional.smooth_l1_loss(picture, pictures, beta=0.3)

    plan = Plan(steps=steps, learning_rate=1e-3, averaging=0.995, seed=seed, weight_decay=0.0)
    return fit(Adapter(base["unet"]).to(device), loss_of, plan, state_file)


def _seen(gone: Ways, pool: EditPool, alphas: Tensor, rng: Random, generator: torch.Generator) -> tuple[Tensor, Tensor, int, str]:
    """Draw what the student sees, the picture that it is to see in it, the level, and the caption."""
    level, lot = rng.randrange(len(LEVELS)), rng.random()
    if lot < 0.7:
        index = rng.randrange(len(gone.captions))
        way, caption = gone.latents[index].float(), gone.captions[index]
        picture = way[-1]
        if lot < 0.4:
            return way[level], picture, level, caption
    else:
        index, *which = (rng.randrange(side) for side in pool.latents.shape[:4])
        picture = pool.latents[index, which[0], which[1], which[2]].float()
        caption = training_caption(pool.scene(index, *which), rng)
    noise = torch.randn(picture.shape, generator=generator)
    return alphas[level].sqrt() * picture + (1 - alphas[level]).sqrt() * noise, picture, level, caption


def export(adapter: Any, folder: Path) -> None:
    """Write the LoRA in float16, as `load_lora_weights` reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().half().contiguous() for name, tensor in adapter.tensors().items()}, folder / WEIGHTS)
