"""Pipelines put together from components that are in memory."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import diffusers

from ..errors import CheckpointError
from .resident import Resident


def fitting(name: str, resident: Resident, base: Resident) -> Any:
    """Return the model that a checkpoint consists of, where it can stand beside another checkpoint's UNet.

    Raises
    ------
    CheckpointError
        It is something else than its name says, or was made for another base.
    """
    word = resident.checkpoint.name
    model: Any = resident.components.get(".")
    if not isinstance(model, diffusers.ControlNetModel):
        found = type(model).__name__ if model is not None else "a whole pipeline"
        raise CheckpointError(f"{word} is {found}, not a ControlNet. Give `{name}` the directory or hub id of one.")
    theirs = base.components["unet"].config
    for setting in ("cross_attention_dim", "in_channels", "block_out_channels"):
        # A config read from a file has lists where one made in Python has tuples.
        own, other = (list(one) if isinstance(one, tuple) else one for one in (model.config[setting], theirs[setting]))
        if own != other:
            raise CheckpointError(
                f"{word} was made for another family than {base.checkpoint.name}: its `{setting}` is {own}, "
                f"not {other}. Give a `{name}` made for it."
            )
    return model


def build(pipeline_class: Any, base: Resident, more: Mapping[str, Any], scheduler: str) -> Any:
    """Make a pipeline around resident components.

    `from_pipe` would do the same and cast the shared weights to float32 on the way
    (diffusers issue 12754); the constructor leaves them alone.
    """
    # A pipeline's constructor rewrites the config of the scheduler it is given, so it gets its own.
    fresh = getattr(diffusers, f"{scheduler}Scheduler").from_config(base.components["scheduler"].config)
    accepted = inspect.signature(pipeline_class.__init__).parameters
    given = {**base.options, **base.components, **more, "scheduler": fresh, "add_watermarker": False}
    pipeline = pipeline_class(**{name: value for name, value in given.items() if name in accepted})
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
