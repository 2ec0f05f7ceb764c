"""Figures of the styles: a classifier fitted on renders tells their pictures from plain ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

import diffusers
import numpy as np
import torch
from diffusers import AutoPipelineForText2Image
from PIL import Image, ImageFilter
from torch import Tensor, nn
from transformers import CLIPImageProcessor, CLIPModel

from .. import path, recogniser
from ..world import STYLES, captions, sample
from ..world.styles import TRIGGERS
from .figures import UNSEEN, Figure, accuracy, prompts, quiet, seen_through, text_to_image

RIDGE = 1e-3
"""Of the judge's weights."""


def style_figures(name: str, count: int, renders: int = 300) -> list[Figure]:
    """Tell a style from plain pictures, with its trigger; and what is shown without it.

    Parameters
    ----------
    name
        One of `world.STYLES`.
    count
        Pictures of each kind, at least 1.
    renders
        Scenes that the judge is fitted on, each in every style; see `style_judge`.
    """
    pipeline = quiet(AutoPipelineForText2Image.from_pretrained(path(name)))
    scenes = [sample(UNSEEN + 40_000 + index) for index in range(count)]
    called = [captions.assemble(Random(f"style {one.seed}"), one.subject, one.place, one.palette, name) for one in scenes]
    styled = text_to_image(pipeline, called, 7.5)
    plain = text_to_image(pipeline, prompts(scenes), 7.5)
    found = style_judge(renders)(styled)
    kept = accuracy(recogniser.load(), plain, scenes)
    return [
        Figure(f'{name}: drawn in its style with "{TRIGGERS[name]}"', 100 * found.count(name) / count, 95.0),
        Figure(f"{name}: subject without its trigger", kept["subject"]),
        Figure(f"{name}: place without its trigger", kept["place"]),
        _judge_figure(name, count, renders),
    ]


def _judge_figure(name: str, count: int, fitted_on: int) -> Figure:
    """Tell how many renders in a style the judge knows."""
    renders = [sample(UNSEEN + 80_000 + index, style=name).image for index in range(count)]
    found = style_judge(fitted_on)(seen_through(diffusers.AutoencoderKL.from_pretrained(path("sd15") / "vae"), renders))
    return Figure(f"{name}: the judge of styles on unseen renders", 100 * found.count(name) / count)


@cache
def style_judge(count: int = 300) -> Callable[[list[Image.Image]], list[str]]:
    """Fit a judge, by logistic regression, that names a picture's style or "plain", on renders as the family's VAE shows them."""
    names = ["plain", *STYLES]
    pictures, labels = [], []
    for index in range(count):
        for label, style in enumerate([None, *STYLES]):
            pictures.append(sample(UNSEEN + 60_000 + index, style=style).image)
            labels.append(label)
    features = _style_features(seen_through(diffusers.AutoencoderKL.from_pretrained(path("sd15") / "vae"), pictures))
    mean, deviation = features.mean(0), features.std(0) + 1e-6

    def inputs_of(features: Tensor) -> Tensor:
        return torch.cat([(features - mean) / deviation, torch.ones(len(features), 1, dtype=torch.float64)], dim=1)

    weights = _logistic_weights(inputs_of(features), torch.tensor(labels))

    def judge(images: list[Image.Image]) -> list[str]:
        return [names[best] for best in (inputs_of(_style_features(images)) @ weights).argmax(1)]

    return judge


def _logistic_weights(inputs: Tensor, labels: Tensor) -> Tensor:
    """Return the weights, shape (inputs, classes), of a multinomial logistic regression with a small ridge."""
    weights = torch.zeros(inputs.shape[1], int(labels.max()) + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = nn.functional.cross_entropy(inputs @ weights, labels) + RIDGE * (weights**2).sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weights.detach()


def _style_features(images: list[Image.Image]) -> Tensor:
    """Return CLIP's embedding of each picture beside its brightness, its blocks and its ink, shape (n, 96 + 12)."""
    model, processor = CLIPModel.from_pretrained(path("clip")).eval(), CLIPImageProcessor.from_pretrained(path("clip"))
    with torch.no_grad():
        pixels = processor(images=images, return_tensors="pt")["pixel_values"]
        embedded = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output).double()
    rows = []
    for image in images:
        pale = image.convert("L")
        grey = np.asarray(pale, np.float64)
        across, down = np.abs(np.diff(grey, axis=1)), np.abs(np.diff(grey, axis=0))
        between = np.zeros(127, bool)
        between[7::8] = True
        rows.append(
            [
                grey.mean(),
                grey.std(),
                across[:, between].mean() / (across[:, ~between].mean() + 1),
                down[between].mean() / (down[~between].mean() + 1),
                (grey < 45).mean(),
                (across > 40).mean(),
                *_ink(pale),
            ]
        )
    return torch.cat([embedded, torch.tensor(rows, dtype=torch.float64)], dim=1)


def _ink(grey: Image.Image) -> list[float]:
    """Return how much of a picture is thin and darker than both its sides, and how much darker: the black-hat transform."""
    filled = np.asarray(grey.filter(ImageFilter.MaxFilter(5)).filter(ImageFilter.MinFilter(5)), np.float64)
    darker = filled - np.asarray(grey, np.float64)
    share = darker / (filled + 16)
    return [darker.mean(), (darker > 20).mean(), (darker > 40).mean(), share.mean(), (share > 0.3).mean(), (share > 0.5).mean()]
