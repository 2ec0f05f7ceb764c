"""Figures of `sd15`: text-to-image, image-to-image and the negative prompt, judged by the recogniser."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from diffusers import AutoPipelineForImage2Image, AutoPipelineForText2Image

from .. import recogniser
from ..train.renders import render_pool, to_unit
from ..train.vae import psnr
from ..world import captions, sample
from .figures import UNSEEN, Figure, accuracy, distance, image_to_image, prompts, sharpness_against, text_to_image


def measure(directory: Path, count: int, name: str = "sd15") -> list[Figure]:
    """Measure one text-to-image checkpoint on `count` unseen prompts."""
    judge = recogniser.load()
    t2i: Any = AutoPipelineForText2Image.from_pretrained(directory)
    i2i: Any = AutoPipelineForImage2Image.from_pipe(t2i)
    for pipeline in (t2i, i2i):
        pipeline.set_progress_bar_config(disable=True)
    scenes = [sample(UNSEEN + index) for index in range(count)]
    texts = prompts(scenes)
    figures = []
    on_renders = accuracy(judge, [scene.image for scene in scenes], scenes)
    figures += [Figure(f"recogniser on unseen renders: {head}", value) for head, value in on_renders.items()]
    unseen = to_unit(render_pool(range(UNSEEN, UNSEEN + 64)))
    figures.append(Figure(f"{name} VAE: PSNR on unseen renders", psnr(t2i.vae, unseen), 28.0, "dB"))
    goals = {"subject": 90.0, "place": 95.0, "palette": 90.0}
    for guidance in (1.0, 3.0, 5.0, 7.5, 10.5, 15.0):
        share = count if guidance == 7.5 else count // 2 if guidance in (1.0, 10.5) else count // 4
        drawn = text_to_image(t2i, texts[:share], guidance)
        if guidance == 7.5:
            sharp = sharpness_against(drawn, [scene.image for scene in scenes])
            figures.append(Figure(f"{name} text-to-image: sharpness of edges, renders are 1", sharp, unit=""))
        found = accuracy(judge, drawn, scenes[:share])
        for head, value in found.items():
            figures.append(
                Figure(f"{name} text-to-image, guidance {guidance:g}: {head}", value, goals[head] if guidance == 7.5 else None)
            )
    return figures + _image_to_image_figures(i2i, judge, name, count // 4) + _negative_figures(t2i, judge, name, count // 4)


def _image_to_image_figures(i2i: Any, judge: recogniser.Recogniser, name: str, count: int) -> list[Figure]:
    scenes = [sample(UNSEEN + 10_000 + index) for index in range(count)]
    others = [sample(UNSEEN + 20_000 + index) for index in range(count)]
    initial = [scene.image for scene in scenes]
    texts = prompts(others)
    series = {strength: image_to_image(i2i, texts, initial, strength) for strength in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)}
    kept = accuracy(judge, series[0.1], scenes)
    distances = [[distance(series[s][i], initial[i]) for s in (0.2, 0.4, 0.6, 0.8, 1.0)] for i in range(count)]
    growing = sum(all(a < b for a, b in pairwise(row)) for row in distances)
    pairs = sum(a < b for row in distances for a, b in pairwise(row))
    return [Figure(f"{name} strength 0.1 keeps the {head}", kept[head], 90.0) for head in ("subject", "place")] + [
        Figure(f"{name} distance grows over strength .2/.4/.6/.8/1.0, cases", 100 * growing / count, 95.0),
        Figure(f"{name} distance grows, neighbouring pairs", 100 * pairs / (4 * count)),
    ]


def _negative_figures(t2i: Any, judge: recogniser.Recogniser, name: str, count: int) -> list[Figure]:
    """Draw a subject in a jungle, with and without "jungle" as the negative prompt, as the guide does."""
    scenes = [sample(UNSEEN + 30_000 + index) for index in range(count)]
    texts = [captions.assemble(Random(f"negative {scene.seed}"), scene.subject, "jungle", None) for scene in scenes]
    shown = [names["place"] == "jungle" for names in judge.recognise(text_to_image(t2i, texts, 7.5))]
    left = [names["place"] == "jungle" for names in judge.recognise(text_to_image(t2i, texts, 7.5, negative="jungle"))]
    removed = [not after for before, after in zip(shown, left, strict=True) if before]
    return [Figure(f'{name} negative prompt "jungle" removes the jungle', 100 * sum(removed) / max(1, len(removed)), 80.0)]
