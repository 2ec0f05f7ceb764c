"""Captions: what a picture shows, in the words of a model such as BLIP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoProcessor

from ..errors import CheckpointError

LONGEST = 40
"""Tokens of a caption, at most."""


@torch.no_grad()
def caption(model: Any, directory: Path, image: Image.Image) -> str:
    """Return what a picture shows, the same words every time.

    Parameters
    ----------
    model
        One of transformers' that write a text for a picture alone, such as `BlipForConditionalGeneration`; on its device.
    directory
        Where its files are, with those of its processor among them.
    image
        RGB, any size.

    Raises
    ------
    CheckpointError
        The model writes no text.
    """
    if not hasattr(model, "generate"):
        kinds = "one that captions, such as Salesforce/blip-image-captioning-base"
        raise CheckpointError(f"{model.name_or_path} is a {type(model).__name__}, which writes no text. Name {kinds}.")
    processor = AutoProcessor.from_pretrained(directory, local_files_only=True)
    given = processor(images=image, return_tensors="pt").to(model.device, model.dtype)
    # Without sampling, so that a batch that goes on has the prompts that it began with.
    made = model.generate(**given, max_new_tokens=LONGEST, do_sample=False)
    return " ".join(processor.decode(made[0], skip_special_tokens=True).split())
