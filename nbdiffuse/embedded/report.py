"""`python -m nbdiffuse.embedded.report`: measure what the embedded checkpoints can do."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from diffusers import AutoPipelineForImage2Image, AutoPipelineForText2Image
from PIL import Image

from ..pipelines import quiet
from . import path, recogniser
from .train.renders import render_pool, to_unit
from .train.vae import psnr
from .world import Scene, captions, sample

UNSEEN = 2_000_000
"""First seed of the scenes of this report; no training sees them."""
STEPS = 25


@dataclass(frozen=True)
class Figure:
    """One line of the table: what was measured, the value, and the goal it must reach."""

    name: str
    value: float
    goal: float | None = None
    unit: str = "%"

    @property
    def met(self) -> bool:
        """Whether the value reaches the goal; True where there is none."""
        return self.goal is None or self.value >= self.goal

    def row(self) -> str:
        """Return the line as Markdown."""
        if self.goal is None:
            return f"| {self.name} | {self.value:.1f} {self.unit} | | |"
        return f"| {self.name} | {self.value:.1f} {self.unit} | ≥ {self.goal:g} {self.unit} | {'yes' if self.met else '**no**'} |"


Generate = Callable[[list[str], float], list[Image.Image]]


def prompts(scenes: Sequence[Scene]) -> list[str]:
    """Write a full prompt for each scene."""
    return [captions.assemble(Random(f"report {scene.seed}"), scene.subject, scene.place, scene.palette) for scene in scenes]


def _generators(count: int, first: int = 0) -> list[torch.Generator]:
    return [torch.Generator("cpu").manual_seed(first + index) for index in range(count)]


def text_to_image(pipeline: Any, texts: list[str], guidance_scale: float, negative: str | None = None) -> list[Image.Image]:
    """Draw one picture for each prompt, in batches, seed i for prompt i."""
    images: list[Image.Image] = []
    for start in range(0, len(texts), 20):
        part = texts[start : start + 20]
        images += pipeline(
            part,
            negative_prompt=[negative] * len(part) if negative else None,
            guidance_scale=guidance_scale,
            num_inference_steps=STEPS,
            generator=_generators(len(part), start),
        ).images
    return images


def image_to_image(
    pipeline: Any, texts: list[str], initial: list[Image.Image], strength: float, guidance_scale: float = 7.5
) -> list[Image.Image]:
    """Redraw one picture for each prompt, in batches, seed i for prompt i."""
    images: list[Image.Image] = []
    for start in range(0, len(texts), 20):
        part = texts[start : start + 20]
        images += pipeline(
            part,
            image=initial[start : start + 20],
            strength=strength,
            guidance_scale=guidance_scale,
            num_inference_steps=50,
            generator=_generators(len(part), start),
        ).images
    return images


def accuracy(judge: recogniser.Recogniser, images: list[Image.Image], scenes: Sequence[Scene]) -> dict[str, float]:
    """Return the share, in percent, of pictures whose subject, place and palette are recognised."""
    named = judge.recognise(images)
    return {
        head: 100 * sum(names[head] == getattr(scene, head) for names, scene in zip(named, scenes, strict=True)) / len(scenes)
        for head in recogniser.HEADS
    }


def distance(a: Image.Image, b: Image.Image) -> float:
    """Return the root mean square difference of two pictures, in [0, 255]."""
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    return float(np.sqrt((difference**2).mean()))


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
        found = accuracy(judge, text_to_image(t2i, texts[:share], guidance), scenes[:share])
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


def contact_sheet(directory: Path, file: Path) -> None:
    """Draw the pictures that a person should look at before a checkpoint is committed."""
    t2i: Any = AutoPipelineForText2Image.from_pretrained(directory)
    i2i: Any = AutoPipelineForImage2Image.from_pipe(t2i)
    for pipeline in (t2i, i2i):
        pipeline.set_progress_bar_config(disable=True)
    guide = [
        "cat wizard, gandalf, lord of the rings, detailed, fantasy, cute, adorable, Pixar, Disney, 8k",
        "Astronaut in a jungle, cold color palette, muted colors, detailed, 8k",
        "a robot in the desert, warm color palette",
        "a rocket at night",
        "penguin in the snow, vivid colors",
        "a house by the ocean",
        "a tree in the mountains, warm color palette, muted colors",
        "a cat in a city",
    ]
    start = sample(UNSEEN + 5).image
    rows = [
        text_to_image(t2i, guide, 7.5),
        text_to_image(t2i, guide, 10.5),
        [start, *(image_to_image(i2i, [guide[0]], [start], s)[0] for s in (0.1, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0))],
        [start, *(image_to_image(i2i, [guide[1]], [start], 0.8, g)[0] for g in (0.1, 1, 3, 5, 7.5, 10.5, 15))],
    ]
    side = rows[0][0].width
    sheet = Image.new("RGB", (side * 8, side * len(rows)))
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            sheet.paste(image.resize((side, side)), (x * side, y * side))
    sheet.save(file)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m nbdiffuse.embedded.report", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="prompts for each figure")
    parser.add_argument("--sheet", type=Path, help="also write a contact sheet to this PNG")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    quiet()
    directory = path("sd15")
    if arguments.sheet:
        contact_sheet(directory, arguments.sheet)
    figures = measure(directory, arguments.count)
    lines = ["| figure | measured | goal | met |", "| --- | --- | --- | --- |", *(figure.row() for figure in figures)]
    import sys

    sys.stdout.write("\n".join(lines) + "\n")
    if arguments.json:
        arguments.json.write_text(json.dumps({figure.name: round(figure.value, 2) for figure in figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
