"""The rest of the family: each member is measured by what it must visibly do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import AutoPipelineForImage2Image, AutoPipelineForText2Image, ControlNetModel
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from transformers import CLIPImageProcessor, CLIPModel

from ...images.metrics import ssim
from .. import path, recogniser
from ..world import STYLES, captions, sample
from ..world.styles import TRIGGERS
from . import masks
from .figures import UNSEEN, Figure, accuracy, distance, image_to_image, prompts, quiet, text_to_image
from .masks import Masker


def style_figures(name: str, count: int) -> list[Figure]:
    """Tell a style from plain pictures, with its trigger; and what is shown without it."""
    pipeline = quiet(AutoPipelineForText2Image.from_pretrained(path(name)))
    scenes = [sample(UNSEEN + 40_000 + index) for index in range(count)]
    called = [captions.assemble(Random(f"style {one.seed}"), one.subject, one.place, one.palette, name) for one in scenes]
    styled = text_to_image(pipeline, called, 7.5)
    plain = text_to_image(pipeline, prompts(scenes), 7.5)
    found = style_judge()(styled)
    kept = accuracy(recogniser.load(), plain, scenes)
    return [
        Figure(f'{name}: drawn in its style with "{TRIGGERS[name]}"', 100 * found.count(name) / count, 95.0),
        Figure(f"{name}: subject without its trigger", kept["subject"]),
        Figure(f"{name}: place without its trigger", kept["place"]),
    ]


def style_judge(count: int = 150) -> Callable[[list[Image.Image]], list[str]]:
    """Fit a linear judge that names a picture's style or "plain", on renders as the family's VAE shows them."""
    names = ["plain", *STYLES]
    pictures, labels = [], []
    for index in range(count):
        for label, style in enumerate([None, *STYLES]):
            pictures.append(sample(UNSEEN + 60_000 + index, style=style).image)
            labels.append(label)
    features = _style_features(_seen_through(diffusers.AutoencoderKL.from_pretrained(path("sd15") / "vae"), pictures))
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    inputs = np.concatenate([(features - mean) / deviation, np.ones((len(features), 1))], axis=1)
    goals = np.eye(len(names))[labels]
    weights = np.linalg.solve(inputs.T @ inputs + 3.0 * np.eye(inputs.shape[1]), inputs.T @ goals)

    def judge(images: list[Image.Image]) -> list[str]:
        scaled = (_style_features(images) - mean) / deviation
        scores = np.concatenate([scaled, np.ones((len(scaled), 1))], axis=1) @ weights
        return [names[best] for best in scores.argmax(1)]

    return judge


@torch.no_grad()
def _seen_through(vae: Any, pictures: list[Image.Image]) -> list[Image.Image]:
    """Return what is left of pictures after a VAE: what a model with it draws at its best."""
    vae = vae.eval()
    processor = VaeImageProcessor(vae_scale_factor=8)
    found: list[Image.Image] = []
    for start in range(0, len(pictures), 32):
        latents = vae.encode(processor.preprocess(pictures[start : start + 32])).latent_dist.mean
        found += processor.postprocess(vae.decode(latents).sample)
    return found


def _style_features(images: list[Image.Image]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return CLIP's embedding of each picture beside its brightness, its blocks and its dark lines, shape (n, 96 + 6)."""
    model, processor = CLIPModel.from_pretrained(path("clip")).eval(), CLIPImageProcessor.from_pretrained(path("clip"))
    with torch.no_grad():
        pixels = processor(images=images, return_tensors="pt")["pixel_values"]
        embedded = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output).double().numpy()
    rows = []
    for image in images:
        grey = np.asarray(image.convert("L"), np.float64)
        across, down = np.abs(np.diff(grey, axis=1)), np.abs(np.diff(grey, axis=0))
        between = np.zeros(127, bool)
        between[3::4] = True
        rows.append(
            [
                grey.mean(),
                grey.std(),
                across[:, between].mean() / (across[:, ~between].mean() + 1),
                down[between].mean() / (down[~between].mean() + 1),
                (grey < 45).mean(),
                (across > 40).mean(),
            ]
        )
    return np.concatenate([embedded, np.array(rows)], axis=1)


def controlnet_figures(count: int, masker: Masker | None = None) -> list[Figure]:
    """Compare the subject's place in the result with its place in the depth map, with control and without.

    The prompts name the map's subject, in another place and another palette.
    """
    net = ControlNetModel.from_pretrained(path("controlnet-depth"))
    controlled = quiet(AutoPipelineForText2Image.from_pretrained(path("sd15"), controlnet=net))
    free = quiet(AutoPipelineForText2Image.from_pretrained(path("sd15")))
    masker = masker or masks.train(free.vae)
    scenes = [sample(UNSEEN + 50_000 + index) for index in range(count)]
    others = [sample(UNSEEN + 55_000 + index) for index in range(count)]
    asked = [replace(one, place=other.place, palette=other.palette) for one, other in zip(scenes, others, strict=True)]
    maps = [scene.depth.convert("RGB") for scene in scenes]
    kept, lost = text_to_image(controlled, prompts(asked), 7.5, image=maps), text_to_image(free, prompts(asked), 7.5)
    wanted = masks.true_masks(scenes)
    judged = accuracy(recogniser.load(), kept, asked)
    return [
        Figure("controlnet-depth: IoU of the subject with the depth map's", masks.overlap(masker.masks(kept), wanted), 0.8, ""),
        Figure("the same without control", masks.overlap(masker.masks(lost), wanted), 0.4, "", most=True),
        Figure(
            "the same of two scenes that have nothing to do with each other",
            masks.overlap(masks.true_masks(others), wanted),
            unit="",
        ),
        Figure("controlnet-depth: subject", judged["subject"]),
        Figure("controlnet-depth: place", judged["place"]),
    ]


def upscaler_figures(name: str, count: int) -> list[Figure]:
    """Compare an upscaler with bicubic enlargement, on renders of which the large version is known.

    The x2 upscaler is given latents, so bicubic enlarges the picture that they decode to: it shares their VAE, which loses
    more of a picture than halving it does.
    """
    scale, side = (2, 128) if name == "x2-upscaler" else (4, 64)
    pipeline = quiet(diffusers.DiffusionPipeline.from_pretrained(path(name)))
    rows = []
    for index in range(count):
        seed = UNSEEN + 70_000 + index
        large = sample(seed, side * scale).image
        small = large.resize((side, side), Image.Resampling.BOX)
        made = pipeline(
            sample(seed).caption, image=small, num_inference_steps=20, generator=torch.Generator("cpu").manual_seed(index)
        ).images[0]
        shown = _seen_through(pipeline.vae, [small])[0] if name == "x2-upscaler" else small
        bicubic = shown.resize(large.size, Image.Resampling.BICUBIC)
        close = [measure(image, large) for measure in (_psnr, ssim) for image in (made, bicubic)]
        rows.append([*close, _sharpness(made), _sharpness(bicubic), _sharpness(large)])
    mean = np.mean(rows, axis=0)
    return [
        Figure(f"{name}: PSNR, against that of bicubic", float(mean[0]), float(mean[1]), "dB"),
        Figure(f"{name}: SSIM, against that of bicubic", float(mean[2]), float(mean[3]), ""),
        Figure(f"{name}: sharpness of edges, bicubic is 1", float(mean[4] / mean[5]), 1.0, ""),
        Figure(f"{name}: sharpness of the true picture, bicubic is 1", float(mean[6] / mean[5]), None, ""),
    ]


def _psnr(a: Image.Image, b: Image.Image) -> float:
    return float(20 * np.log10(255 / max(distance(a, b), 1e-9)))


def _sharpness(image: Image.Image) -> float:
    """Return how steep the steepest tenth of a picture's steps is, of 255."""
    grey = np.asarray(image.convert("L"), np.float64)
    steps = np.concatenate([np.abs(np.diff(grey, axis=0)).ravel(), np.abs(np.diff(grey, axis=1)).ravel()])
    return float(np.sort(steps)[-len(steps) // 10 :].mean())


def refiner_figures(count: int) -> list[Figure]:
    """Compare the refiner with the base at strength 0.3, from pictures that the base drew."""
    base = quiet(AutoPipelineForImage2Image.from_pretrained(path("sd15")))
    refiner = quiet(AutoPipelineForImage2Image.from_pretrained(path("sdxl-refiner")))
    scenes = [sample(UNSEEN + 80_000 + index) for index in range(count)]
    texts, initial = prompts(scenes), [scene.image for scene in scenes]
    made = image_to_image(refiner, texts, initial, 0.3, 5.0)
    same = image_to_image(base, texts, initial, 0.3, 7.5)
    closeness = np.mean([_psnr(a, b) for a, b in zip(made, initial, strict=True)])
    bases = np.mean([_psnr(a, b) for a, b in zip(same, initial, strict=True)])
    sharper = np.mean([_sharpness(image) for image in made]) / np.mean([_sharpness(image) for image in same])
    return [
        Figure("sdxl-refiner, strength 0.3: PSNR against sd15's", float(closeness - bases), 0.0, "dB"),
        Figure("sdxl-refiner, strength 0.3: sharpness of edges, sd15 is 1", float(sharper), 1.0, ""),
    ]


def followed_figures(name: str, count: int, guidance: float) -> list[Figure]:
    """Measure what another text-to-image member draws of its prompts."""
    pipeline = quiet(AutoPipelineForText2Image.from_pretrained(path(name)))
    scenes = [sample(UNSEEN + index) for index in range(count)]
    extra: dict[str, Any] = {"width": 128, "height": 128} if name == "kandinsky22" else {}
    found = accuracy(recogniser.load(), text_to_image(pipeline, prompts(scenes), guidance, **extra), scenes)
    goals = {"subject": 90.0, "place": 95.0, "palette": 90.0}
    return [Figure(f"{name} text-to-image: {head}", value, goals[head]) for head, value in found.items()]


STRENGTHS: dict[str, tuple[float, float, float]] = {"kandinsky22": (0.1, 0.2, 0.4)}
"""Where something of the initial picture is left: Kandinsky's linear schedule leaves 8 % of its variance at 0.6."""


def growth_figures(name: str, count: int) -> list[Figure]:
    """Measure whether a family moves further from the initial picture as the strength rises."""
    pipeline = quiet(AutoPipelineForImage2Image.from_pretrained(path(name)))
    scenes = [sample(UNSEEN + 10_000 + index) for index in range(count)]
    texts = prompts([sample(UNSEEN + 20_000 + index) for index in range(count)])
    extra: dict[str, Any] = {"width": 128, "height": 128} if name == "kandinsky22" else {}
    guidance = 4.0 if name == "kandinsky22" else 5.0 if name.startswith("sdxl") else 7.5
    initial = [scene.image for scene in scenes]
    strengths = STRENGTHS.get(name, (0.2, 0.6, 1.0))
    rows = [
        [distance(a, b) for a, b in zip(image_to_image(pipeline, texts, initial, s, guidance, **extra), initial, strict=True)]
        for s in strengths
    ]
    growing = sum(all(a < b for a, b in pairwise(column)) for column in zip(*rows, strict=True))
    over = "/".join(f"{strength:g}" for strength in strengths)
    return [Figure(f"{name}: distance grows over strength {over}, cases", 100 * growing / count, 95.0)]
