"""The rest of the family: each member is measured by what it must visibly do."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import AutoPipelineForImage2Image, AutoPipelineForText2Image, ControlNetModel
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from transformers import AutoModelForDepthEstimation, CLIPImageProcessor, CLIPModel

from ...depth import estimate
from .. import path, recogniser
from ..world import STYLES, captions, sample
from ..world.styles import TRIGGERS
from .figures import UNSEEN, Figure, accuracy, distance, generators, image_to_image, prompts, quiet, text_to_image


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
    features = _style_features(_seen_through_vae(pictures))
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
def _seen_through_vae(pictures: list[Image.Image]) -> list[Image.Image]:
    """Return what is left of pictures after the VAE: what a model with it draws at its best."""
    vae = diffusers.AutoencoderKL.from_pretrained(path("sd15") / "vae").eval()
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


def controlnet_figures(count: int) -> list[Figure]:
    """Compare the subject's place in the result with its place in the depth map, with control and without."""
    net = ControlNetModel.from_pretrained(path("controlnet-depth"))
    controlled = quiet(AutoPipelineForText2Image.from_pretrained(path("sd15"), controlnet=net))
    free = quiet(AutoPipelineForText2Image.from_pretrained(path("sd15")))
    scenes = [sample(UNSEEN + 50_000 + index) for index in range(count)]
    texts = prompts(scenes)
    with_control: list[Image.Image] = []
    for start in range(0, count, 20):
        part = scenes[start : start + 20]
        with_control += controlled(
            texts[start : start + 20],
            image=[scene.depth.convert("RGB") for scene in part],
            num_inference_steps=25,
            generator=generators(len(part), start),
        ).images
    without = text_to_image(free, texts, 7.5)
    estimator = AutoModelForDepthEstimation.from_pretrained(path("depth-estimator")).eval()

    def overlap(images: list[Image.Image]) -> float:
        found = (_subject(estimate(estimator, path("depth-estimator"), image)) for image in images)
        return float(np.mean([_iou(mask, _subject(scene.depth)) for mask, scene in zip(found, scenes, strict=True)]))

    kept, lost = overlap(with_control), overlap(without)
    judged = accuracy(recogniser.load(), with_control, scenes)
    return [
        Figure("controlnet-depth: IoU of the subject with the depth map's", kept, 0.8, ""),
        Figure("the same without control", lost, 0.4, "", most=True),
        Figure("controlnet-depth: subject", judged["subject"]),
        Figure("controlnet-depth: place", judged["place"]),
    ]


def _subject(depth: Image.Image) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.asarray(depth) > 140


def _iou(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def upscaler_figures(name: str, count: int) -> list[Figure]:
    """Compare an upscaler with bicubic enlargement, on renders of which the large version is known."""
    scale, side = (2, 128) if name == "x2-upscaler" else (4, 64)
    pipeline = quiet(diffusers.DiffusionPipeline.from_pretrained(path(name)))
    rows = []
    for index in range(count):
        seed = UNSEEN + 70_000 + index
        large, small = (
            sample(seed, side * scale).image,
            sample(seed, side * scale).image.resize((side, side), Image.Resampling.BOX),
        )
        made = pipeline(
            sample(seed).caption, image=small, num_inference_steps=20, generator=torch.Generator("cpu").manual_seed(index)
        ).images[0]
        bicubic = small.resize(large.size, Image.Resampling.BICUBIC)
        rows.append([_psnr(made, large), _psnr(bicubic, large), _sharpness(made), _sharpness(bicubic), _sharpness(large)])
    mean = np.mean(rows, axis=0)
    return [
        Figure(f"{name}: PSNR", float(mean[0]), float(mean[1]), "dB"),
        Figure(f"{name}: sharpness of edges, bicubic is 1", float(mean[2] / mean[3]), 1.0, ""),
        Figure(f"{name}: sharpness of the true picture, bicubic is 1", float(mean[4] / mean[3]), None, ""),
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


def growth_figures(name: str, count: int) -> list[Figure]:
    """Measure whether a family moves further from the initial picture as the strength rises."""
    pipeline = quiet(AutoPipelineForImage2Image.from_pretrained(path(name)))
    scenes = [sample(UNSEEN + 10_000 + index) for index in range(count)]
    texts = prompts([sample(UNSEEN + 20_000 + index) for index in range(count)])
    extra: dict[str, Any] = {"width": 128, "height": 128} if name == "kandinsky22" else {}
    guidance = 4.0 if name == "kandinsky22" else 5.0 if name.startswith("sdxl") else 7.5
    initial = [scene.image for scene in scenes]
    rows = [
        [distance(a, b) for a, b in zip(image_to_image(pipeline, texts, initial, s, guidance, **extra), initial, strict=True)]
        for s in (0.2, 0.6, 1.0)
    ]
    growing = sum(all(a < b for a, b in pairwise(column)) for column in zip(*rows, strict=True))
    return [Figure(f"{name}: distance grows over strength .2/.6/1.0, cases", 100 * growing / count, 95.0)]
