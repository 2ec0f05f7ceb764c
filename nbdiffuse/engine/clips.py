"""Clips: all frames of a film redrawn in one call, with a motion adapter beside the checkpoint."""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
from PIL import Image

from ..errors import CheckpointError, Interrupted, ParameterError, breaks_rule
from ..families.motion import CALLED
from ..recipes.clip_rules import clip_pipeline
from ..recipes.recipe import Recipe
from .engine import Engine


def redraw_clip(
    engine: Engine, recipe: Recipe, frames: Sequence[Image.Image], adapter: str, stop: threading.Event
) -> list[Image.Image]:
    """Redraw the frames of a clip together.

    Parameters
    ----------
    engine
        Of the worker.
    recipe
        Complete; of one of the frames, whose pictures stand in `frames`.
    frames
        RGB, of the run's size, at most as many as the adapter sees at once.
    adapter
        Directory or hub id of a motion adapter.
    stop
        When set, the run ends after the step under way.

    Returns
    -------
    As many RGB pictures: those of diffusers' pipeline, called with the same values.

    Raises
    ------
    Interrupted
        `stop` was set.
    CheckpointError
        The adapter is missing, is something else, or was made for another UNet.
    ParameterError
        There are more frames than it sees at once.
    """
    clip = _pipeline(engine, recipe, adapter, len(frames))
    accepted = inspect.signature(clip.__call__).parameters
    values = {name: recipe.get(name) for name in CALLED if name in accepted and recipe.get(name) is not None}

    def on_step_end(_: Any, step: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
        if stop.is_set():
            raise Interrupted(f"Stopped after step {step + 1} of the clip. Nothing of it is kept.")
        return kept

    generator = torch.Generator("cpu").manual_seed(recipe.seed or 0)
    failure: Exception | None = None
    try:
        made: list[Image.Image] = clip(
            video=list(frames), **values, generator=generator, callback_on_step_end=on_step_end
        ).frames[0]
    except (RuntimeError, MemoryError) as error:
        failure = engine.explained(error, recipe)
    finally:
        clip.maybe_free_model_hooks()
        engine.pipelines.rest()
    if failure is not None:
        # Raised outside the `except`, so that the line does not hold the failed run's tensors.
        raise failure
    return made


def _pipeline(engine: Engine, recipe: Recipe, adapter: str, frames: int) -> Any:
    pipelines = engine.pipelines
    directory = pipelines.directory(adapter)
    described = _description(directory)
    if described.get("_class_name") != "MotionAdapter":
        raise CheckpointError(
            f"{adapter} is no motion adapter: its config.json names {described.get('_class_name') or 'nothing'}."
        )
    most = int(described.get("motion_max_seq_length", 32))
    if frames > most:
        way_out = f"Choose some: `frames` 0:{most}."
        raise ParameterError(
            breaks_rule("motion_adapter", f"given at most {most} frames, which it sees at once", frames, way_out)
        )
    base = engine.acquired(recipe)
    theirs, own = (tuple(one or ()) for one in (described.get("block_out_channels"), base.unet.config.block_out_channels))
    if theirs != own:
        raise CheckpointError(f"{adapter} was made for a UNet with blocks of {theirs}, and {recipe.checkpoint} has {own}.")
    motion = diffusers.MotionAdapter.from_pretrained(directory, dtype=pipelines.dtype)
    made = getattr(diffusers, clip_pipeline(recipe)).from_pipe(base, motion_adapter=motion, dtype=pipelines.dtype)
    made.set_progress_bar_config(disable=True)
    return made.to(pipelines.device)


def _description(directory: Path) -> dict[str, Any]:
    try:
        found = json.loads((directory / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
