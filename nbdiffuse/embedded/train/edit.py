"""Train `edit`: InstructPix2Pix on the drawn world, as a change of `sd15`.

It is taught with pairs of pictures of one scene in which one thing differs, and the words that lead from one to the other.
Sometimes nothing is said, and sometimes there is no picture either: the pipeline tells these apart and magnifies the
differences, by `guidance_scale` and by `image_guidance_scale`.

A small network follows its words too surely, as `calibration` says, so their share is taught at once: for a picture i and
words w

    e(x, w, i) - e(x, "", i) = SAID * (noise - e(x, "", i))

Source: Brooks et al., "InstructPix2Pix: Learning to Follow Image Editing Instructions", 2023; diffusers
`StableDiffusionInstructPix2PixPipeline`.
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
from diffusers import AutoencoderKL, StableDiffusionInstructPix2PixPipeline
from torch import Tensor, nn
from transformers import CLIPTokenizer

from ..world import PALETTES, PLACES, SUBJECTS, Scene, sample
from ..world.edits import KINDS, graded, instruct, palette_asks, redrawn
from .base import new_scheduler, noised, token_ids
from .latents import encoded_pool
from .loop import Plan, fit, training_device
from .styles import height_of
from .widening import Taught, Widened, words_apart

logger = logging.getLogger(__name__)

BATCH = 16
SAID = 0.4
"""Share of what words change: 3 at a guidance scale of 7.5."""
HIGHEST = 100.0
"""Most that errors are weighted by the noise: the first steps decide what is kept of the picture, and there the noise hides
nearly all of it."""
EARLY = 0.6
"""How timesteps are spread: what to do with little noise is known from the base."""
FASTER = 4.0
"""How much faster than the rest the picture's channels learn, which nothing is known of."""
UNSAID = 0.14
"""Share of pairs without words."""
UNSEEN = 0.06
"""Share without words and without a picture."""
MOODS = 3
"""Palettes that each scene of the pool is drawn under."""
SHARES = (0.4, 0.36, 0.24)
"""How often each of `KINDS` is asked for."""


@dataclass(frozen=True)
class EditPool:
    """Scenes, each with two subjects in two places under three palettes, and the latents of all twelve pictures.

    Parameters
    ----------
    scenes
        With the names of the first of each.
    subjects, places, palettes
        The names of all, for each scene.
    latents
        Shape (scenes, 2, 2, 3, 4, h, w), float16, scaled to unit deviation.
    """

    scenes: list[Scene]
    subjects: list[list[str]]
    places: list[list[str]]
    palettes: list[list[str]]
    latents: Tensor

    def names(self, index: int) -> dict[str, list[str]]:
        """Return the subjects, places and palettes of a scene."""
        return {"subject": self.subjects[index], "place": self.places[index], "palette": self.palettes[index]}

    def scene(self, index: int, subject: int, place: int, palette: int) -> Scene:
        """Return one of a scene's twelve pictures by its names."""
        names = self.subjects[index][subject], self.places[index][place], self.palettes[index][palette]
        return Scene(self.scenes[index].seed, self.scenes[index].size, *names)

    def pair(self, rng: Random) -> tuple[Tensor, Tensor, str]:
        """Draw two pictures of one scene that differ in one thing, and the words that lead from the first to the second."""
        index = rng.randrange(len(self.scenes))
        names = self.names(index)
        old = {kind: rng.randrange(len(values)) for kind, values in names.items()}
        (kind,) = rng.choices(KINDS, SHARES)
        new = rng.choice([other for other in range(len(names[kind])) if other != old[kind]])
        if kind == "palette" and palette_asks(names[kind][old[kind]], names[kind][new]) is None:
            kind, new = "subject", 1 - old["subject"]
        scene = self.scene(index, *old.values())
        latents = self.latents[index].float()
        before = latents[old["subject"], old["place"], old["palette"]]
        changed = {**old, kind: new}
        after = latents[changed["subject"], changed["place"], changed["palette"]]
        return before, after, instruct(scene, kind, names[kind][new], rng)


def edit_pool(vae: AutoencoderKL, seeds: Sequence[int]) -> EditPool:
    """Draw and encode twelve pictures of each seed's scene."""
    scenes, subjects, places, moods, parts = [], [], [], [], []
    for seed in seeds:
        scene, rng = sample(seed), Random(f"edits {seed}")
        subjects.append([scene.subject, rng.choice([one for one in SUBJECTS if one != scene.subject])])
        places.append([scene.place, rng.choice([one for one in PLACES if one != scene.place])])
        # "natural" often: it is what prompts that name no palette draw.
        rest = [one for one in PALETTES if one not in (scene.palette, "natural")]
        moods.append([scene.palette, *rng.sample(rest, MOODS - 1)])
        if scene.palette != "natural" and rng.random() < 0.6:
            moods[-1][1] = "natural"
        drawn = [redrawn(scene, subject, place) for subject in subjects[-1] for place in places[-1]]
        pictures = [graded(picture, mood) for picture in drawn for mood in moods[-1]]
        parts.append(encoded_pool(vae, [scene] * len(pictures), pictures).mean.half())
        scenes.append(Scene(scene.seed, scene.size, scene.subject, scene.place, scene.palette))
    latents = torch.stack(parts)
    return EditPool(scenes, subjects, places, moods, latents.reshape(len(scenes), 2, 2, MOODS, *latents.shape[2:]))


def kept_pool(vae: AutoencoderKL, seeds: range, file: Path) -> EditPool:
    """Return a pool from its file, or make it and keep it there."""
    if file.exists():
        kept = torch.load(file, weights_only=True)
        return EditPool([Scene(**one) for one in kept.pop("scenes")], **kept)
    pool = edit_pool(vae, seeds)
    fields = {name: getattr(pool, name) for name in ("subjects", "places", "palettes", "latents")}
    scenes = [{name: getattr(one, name) for name in ("seed", "size", "subject", "place", "palette")} for one in pool.scenes]
    torch.save({"scenes": scenes, **fields}, file)
    return pool


def begin(base: nn.ModuleDict, vae: AutoencoderKL) -> nn.ModuleDict:
    """Return the modules `text_encoder` and `unet` that the training begins with: they predict what the base does."""
    change = Widened(base["unet"], 4, scale=FASTER * vae.config["scaling_factor"])
    text_encoder = copy.deepcopy(base["text_encoder"]).requires_grad_(True)
    return nn.ModuleDict({"text_encoder": text_encoder, "unet": Taught(base["unet"], change)})


def drawn(pool: EditPool, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, list[str]]:
    """Draw pictures, what becomes of them, both in latents of unit deviation, and the words."""
    rng = Random(int(torch.randint(2**31, (1,), generator=generator)))
    before, after, words = zip(*(pool.pair(rng) for _ in range(count)), strict=True)
    return torch.stack(before), torch.stack(after), list(words)


def train(
    base: nn.ModuleDict,
    pool: EditPool,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    state_file: Path,
    steps: int,
    seed: int = 0,
) -> nn.ModuleDict:
    """Teach a base to edit.

    Parameters
    ----------
    base
        `text_encoder` and `unet` of `sd15`.
    pool
        From `edit_pool`.
    vae
        Of `sd15`.
    tokenizer, state_file, steps, seed
        As for `base.train`.

    Returns
    -------
    Modules `text_encoder` and `unet`, the latter a `Taught`.
    """
    device = training_device()
    torch.manual_seed(seed)
    modules = begin(base, vae).to(device)
    # The pipeline gives the picture's latents as the VAE makes them.
    factor = 1 / vae.config["scaling_factor"]

    def loss_of(model: nn.ModuleDict, generator: torch.Generator, step: int) -> Tensor:
        before, after, words = drawn(pool, BATCH, generator)
        noisy, noise, timesteps = (part.to(device) for part in noised(after, generator, EARLY))
        # Timesteps are in order over the batch; what is left out must not depend on them.
        lot = torch.rand(BATCH, generator=generator)
        words = ["" if share < UNSAID + UNSEEN else text for share, text in zip(lot.tolist(), words, strict=True)]
        seen = factor * before * (lot >= UNSEEN).reshape(-1, 1, 1, 1)
        ids = token_ids(tokenizer, [*words, ""]).to(device)
        text = model["text_encoder"](ids).last_hidden_state
        shares = torch.tensor([SAID if text else 1.0 for text in words], device=device)
        given = torch.cat([noisy, seen.to(device)], dim=1), timesteps
        errors = words_apart(model["unet"], *given, text[:-1], text[-1:].detach(), noise, shares)  # type: ignore[arg-type]
        return (height_of(timesteps).clamp(0.3, HIGHEST) * errors**2).mean()

    return fit(
        modules, loss_of, Plan(steps=steps, learning_rate=1.2e-3, averaging=0.995, seed=seed, weight_decay=0.0), state_file
    )


def pipeline(vae: AutoencoderKL, modules: Any, tokenizer: CLIPTokenizer) -> StableDiffusionInstructPix2PixPipeline:
    """Put `edit` together as it ships."""
    return StableDiffusionInstructPix2PixPipeline(
        vae=vae,
        text_encoder=modules["text_encoder"],
        tokenizer=tokenizer,
        unet=modules["unet"].whole(),
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
