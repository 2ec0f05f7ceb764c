"""Train `inpaint`: Stable Diffusion's nine-channel UNet on holes in the drawn world, as a change of `sd15`.

Beside the noisy latents it is given the mask and the latents of the picture without what is under it. A hole has room for
two subjects, or two places are drawn around one subject, so that the words decide and not the shape of the hole.

What words change is taught at the share that `calibration` gives it in `sd15`, so that the same guidance scales serve:

    e(x, w) - e(x, "") = SHARE * (noise - e(x, ""))

Source: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", 2022, section 4.5; diffusers
`StableDiffusionInpaintPipeline`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionInpaintPipeline
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTokenizer

from ..world import Scene
from ..world.captions import assemble
from ..world.edits import graded, redrawn
from ..world.holes import HOLES, hole
from .base import new_scheduler, noised, token_ids
from .calibration import SHARE
from .edit import EARLY, FASTER, HIGHEST, EditPool
from .latents import encoded_pool
from .loop import Plan, fit, training_device
from .styles import height_of
from .text import training_caption
from .widening import Taught, Widened, words_apart

BATCH = 16
RANK = 16
"""Of what is changed: the words, the VAE and most of what is drawn are the base's."""
FACTOR = 8
"""Pixels of a latent's side."""
ALONE = 0.25
"""Share of captions that name the subject and nothing else, as people do who fill a hole."""
SEAM = 1.5
"""How much more an error counts on both sides of a hole's border, where it shows as a seam."""
FINISHING = 2500
"""Last steps, in which errors count alike however much noise there is: what the words say is learned by then, and a border
shows by what the steps with little noise get wrong."""
GREY = 128
"""What the pipeline lays under a mask: nothing, which is the middle of [-1, 1]."""


@dataclass(frozen=True)
class HolePool:
    """Pictures with a hole, and the pictures that can be in it.

    Parameters
    ----------
    masks
        Of the latents, shape (n, 1, h, w), 1 in the hole.
    left
        Latents of what is left, shape (n, 4, h, w), scaled to unit deviation.
    fillings
        For each, the pictures of an `EditPool` that fill it: scene, subject, place and palette, each by its index.
    """

    masks: Tensor
    left: Tensor
    fillings: list[list[list[int]]]


def hole_pool(vae: AutoencoderKL, pool: EditPool) -> HolePool:
    """Cut three holes into pictures of each scene of a pool: where a subject stands, anywhere, and around it."""
    pictures, masks, fillings = [], [], []
    for index, scene in enumerate(pool.scenes):
        rng = Random(f"holes {scene.seed}")
        for kinds in (HOLES[:2], HOLES[2:4], HOLES[4:]):
            kind = rng.choice(kinds)
            names = {one: rng.randrange(len(values)) for one, values in pool.names(index).items()}
            shown = pool.scene(index, *names.values())
            # Its masks are those of the scene as the world draws it: where something stands depends on the place.
            standing = replace(scene, subject=shown.subject)
            mask = hole(standing, kind, rng, *(pool.subjects[index] if kind in HOLES[:2] else ()))
            pictures.append(without(graded(redrawn(scene, shown.subject, shown.place), shown.palette), mask))
            masks.append(latent_mask(mask))
            free = {"subject": "subject", "box": "subject", "around": "place"}.get(kind)
            fillings.append([list({**names, free: other}.values()) for other in (0, 1)] if free else [list(names.values())])
            for filling in fillings[-1]:
                filling.insert(0, index)
    left = encoded_pool(vae, [pool.scenes[0]] * len(pictures), pictures).mean
    return HolePool(torch.stack(masks), left, fillings)


def without(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """Return a picture with nothing under its mask."""
    return Image.composite(Image.new("RGB", picture.size, (GREY,) * 3), picture, mask)


def latent_mask(mask: Image.Image) -> Tensor:
    """Return a mask as the pipeline makes it for latents, shape (1, h, w): every eighth pixel."""
    return torch.from_numpy(np.asarray(mask)[::FACTOR, ::FACTOR] > 127).float()[None]


def border_of(mask: Tensor) -> Tensor:
    """Return where a mask of latents, shape (n, 1, h, w), has a neighbour, also a diagonal one, that is of the other kind."""
    return nn.functional.max_pool2d(mask, 3, 1, 1) + nn.functional.max_pool2d(1 - mask, 3, 1, 1) - 1


def kept_holes(vae: AutoencoderKL, pool: EditPool, file: Path) -> HolePool:
    """Return a pool from its file, or make it and keep it there."""
    if not file.exists():
        made = hole_pool(vae, pool)
        torch.save({"masks": made.masks, "left": made.left, "fillings": made.fillings}, file)
    return HolePool(**torch.load(file, weights_only=True))


def begin(base: nn.ModuleDict) -> Taught:
    """Return the UNet that the training begins with: it predicts what the base does."""
    return Taught(base["unet"], Widened(base["unet"], 5, scale=FASTER, rank=RANK))


def _caption(scene: Scene, rng: Random) -> str:
    if rng.random() < ALONE:
        return assemble(rng, scene.subject, None, None)
    return training_caption(scene, rng)


def train(
    base: nn.ModuleDict,
    pool: EditPool,
    holes: HolePool,
    tokenizer: CLIPTokenizer,
    state_file: Path,
    steps: int,
    seed: int = 0,
) -> Taught:
    """Teach a base to fill holes; its text encoder stays as it is.

    Parameters
    ----------
    base
        `text_encoder` and `unet` of `sd15`.
    pool, holes
        From `edit.edit_pool`, and the holes in it.
    tokenizer, state_file, steps, seed
        As for `base.train`.
    """
    device = training_device()
    torch.manual_seed(seed)
    text_encoder = base["text_encoder"].to(device).eval().requires_grad_(False)
    unet = begin(base).to(device)

    def loss_of(model: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        rng = Random(int(torch.randint(2**31, (1,), generator=generator)))
        chosen = [rng.randrange(len(holes.fillings)) for _ in range(BATCH)]
        filled = [rng.choice(holes.fillings[index]) for index in chosen]
        latents = torch.stack([pool.latents[tuple(filling)].float() for filling in filled])
        captions = [_caption(pool.scene(*filling), rng) for filling in filled]
        finishing = step >= steps - FINISHING
        noisy, noise, timesteps = (part.to(device) for part in noised(latents, generator, 1.0 if finishing else EARLY))
        mask = holes.masks[chosen].to(device)
        given = torch.cat([noisy, mask, holes.left[chosen].to(device)], dim=1), timesteps
        with torch.no_grad():
            text = text_encoder(token_ids(tokenizer, [*captions, ""]).to(device)).last_hidden_state
        shares = torch.tensor([SHARE if words else 1.0 for words in captions], device=device)
        errors = words_apart(model, *given, text[:-1], text[-1:], noise, shares)  # type: ignore[arg-type]
        # What is in the hole counts more, and most along its border: the rest can be read off.
        weight = 0.5 + mask + (2 * SEAM if finishing else SEAM) * border_of(mask)
        lowest, highest = (1.0, 4.0) if finishing else (0.3, HIGHEST)
        return (height_of(timesteps).clamp(lowest, highest) * weight * errors**2).mean()

    return fit(unet, loss_of, Plan(steps=steps, learning_rate=1e-3, averaging=0.995, seed=seed, weight_decay=0.0), state_file)


def pipeline(
    vae: AutoencoderKL, text_encoder: nn.Module, tokenizer: CLIPTokenizer, taught: Taught
) -> StableDiffusionInpaintPipeline:
    """Put `inpaint` together as it ships."""
    return StableDiffusionInpaintPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=taught.whole(),
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
