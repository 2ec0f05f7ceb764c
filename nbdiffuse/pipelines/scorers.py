"""Scorers: models that judge pictures, a CLIP for prompts and LPIPS for likeness."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPImageProcessorPil

from .. import embedded
from ..checkpoints.failures import explain
from ..checkpoints.layouts import components_of
from ..checkpoints.loading import load
from ..checkpoints.locate import locate
from ..errors import CheckpointError, ParameterError, breaks_rule
from ..files.hashes import states_of
from ..files.paths import here
from ..images.metrics import METRICS

EMBEDDED = "clip"
HUB = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
"""What judges pictures of the embedded world, and all others."""
AT_ONCE = 16
"""Pictures that go through a model together."""


def scorer_for(checkpoint: str) -> str:
    """Return the CLIP that knows what a checkpoint draws."""
    return EMBEDDED if checkpoint in embedded.names() else HUB


@torch.no_grad()
def prompt_scores(word: str, pairs: Sequence[tuple[str, Image.Image]], device: torch.device) -> list[float]:
    """Say how well pictures fit their prompts.

    Parameters
    ----------
    word
        An embedded CLIP, the hub id of one, or a directory with its config.json,
        weights, tokenizer and preprocessor.
    pairs
        Prompts, and RGB pictures of any size.
    device
        Where the CLIP runs.

    Returns
    -------
    For each pair the cosine of CLIP's embeddings, in [-1, 1]. Values of one CLIP can be
    compared with one another only.

    Raises
    ------
    ParameterError, CheckpointError
        There is no such CLIP, or it cannot be loaded.

    Source: Hessel et al., CLIPScore, 2021, without its weight of 2.5.
    """
    resting, tokenizer, processor = _clip(word, states_of((here(word) or Path(word),)))
    longest = resting.config.text_config.max_position_embeddings
    scores: list[float] = []
    with _on(device, resting) as model:
        for start in range(0, len(pairs), AT_ONCE):
            part = pairs[start : start + AT_ONCE]
            texts = [prompt for prompt, _ in part]
            text = tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
            seen = processor(images=[image for _, image in part], return_tensors="pt")
            output = model(
                input_ids=text.input_ids.to(device),
                attention_mask=text.attention_mask.to(device),
                pixel_values=seen.pixel_values.to(device),
            )
            scores += torch.nn.functional.cosine_similarity(output.text_embeds, output.image_embeds).tolist()
    return scores


@torch.no_grad()
def identities(word: str, pairs: Sequence[tuple[Image.Image, Image.Image]], device: torch.device) -> list[float]:
    """Say how far pictures show the same as others, whatever their pixels.

    Parameters
    ----------
    word, device
        As for `prompt_scores`.
    pairs
        RGB pictures of any size.

    Returns
    -------
    For each pair the cosine of CLIP's embeddings of both, in [-1, 1]; 1 for equal pictures. Values of one CLIP can be
    compared with one another only.

    Raises
    ------
    ParameterError, CheckpointError
        As for `prompt_scores`.

    Source: Ruiz et al., DreamBooth, 2023, "CLIP-I".
    """
    resting, _, processor = _clip(word, states_of((here(word) or Path(word),)))
    scores: list[float] = []
    with _on(device, resting) as model:
        for start in range(0, len(pairs), AT_ONCE):
            part = pairs[start : start + AT_ONCE]
            # A call of its own for each side: what is beside a picture in a call changes its last digits.
            sides = ([pair[side] for pair in part] for side in (0, 1))
            seen = [processor(images=side, return_tensors="pt").pixel_values.to(device) for side in sides]
            first, second = (model.visual_projection(model.vision_model(pixels).pooler_output) for pixels in seen)
            scores += torch.nn.functional.cosine_similarity(first, second).clamp(-1, 1).tolist()
    return scores


@torch.no_grad()
def lpips_distances(pairs: Sequence[tuple[Image.Image, Image.Image]], device: torch.device) -> list[float]:
    """Say how far pictures are from others as people see it.

    Parameters
    ----------
    pairs
        RGB pictures, two of one size each.
    device
        Where the model runs.

    Returns
    -------
    For each pair a distance, at least 0; 0 for equal pictures.

    Raises
    ------
    NbdiffuseError, CheckpointError
        lpips is not installed, or its weights cannot be had.

    Source: Zhang et al., The Unreasonable Effectiveness of Deep Features, 2018; AlexNet.
    """
    tensors = [[torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 127.5 - 1 for image in pair] for pair in pairs]
    with _on(device, _lpips()) as model:
        return [float(model(first.to(device), second.to(device))) for first, second in tensors]


@contextmanager
def _on(device: torch.device, model: Any) -> Iterator[Any]:
    """Lend a model the device: scorers are outside the budget, so they leave when they are done."""
    try:
        yield model.to(device)
    finally:
        model.to("cpu")


@lru_cache(maxsize=2)
def _clip(word: str, state: object) -> tuple[Any, Any, Any]:
    """Load a CLIP; a directory whose files have changed has another state."""
    checkpoint = locate(word)
    if list(components_of(checkpoint.directory).values()) != [("transformers", "CLIPModel")]:
        raise ParameterError(breaks_rule("scorer", "a CLIP", word, f"Known: {EMBEDDED}, {HUB}."))
    model = load(checkpoint, torch.float32)
    try:
        return (
            model,
            AutoTokenizer.from_pretrained(checkpoint.directory),
            CLIPImageProcessorPil.from_pretrained(checkpoint.directory),
        )
    except Exception as error:  # transformers raises unrelated classes
        failure = CheckpointError(explain(error, word))
    raise failure


@lru_cache(maxsize=1)
def _lpips() -> Any:
    METRICS["lpips"].require()
    try:
        return importlib.import_module("lpips").LPIPS(net="alex", verbose=False).eval()
    except Exception as error:  # torchvision fetches the weights by its own means
        failure = CheckpointError(f"The weights of LPIPS cannot be had: {type(error).__name__}: {error}. Measure `ssim`.")
    raise failure
