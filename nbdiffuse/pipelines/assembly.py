"""Pipelines put together from components that are in memory."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers

from ..checkpoints.locate import Checkpoint
from ..errors import CheckpointError
from ..families.family import UNION
from .loaded_model import LoadedModel


def refuse_other_base(name: str, checkpoint: Checkpoint, base: Checkpoint, kind: str) -> None:
    """Refuse a ControlNet that does not fit another checkpoint's denoiser, by the configs of both, before either is loaded.

    Parameters
    ----------
    name
        What the recipe calls it.
    checkpoint, base
        Those of the ControlNet and of what it stands beside.
    kind
        diffusers' class of the ControlNets that fit.

    Raises
    ------
    CheckpointError
        It is something else than its name says, or was made for another base.
    """
    part = "unet" if kind in ("ControlNetModel", UNION) else "transformer"
    own, theirs = (_config(file) for file in (checkpoint.directory / "config.json", base.directory / part / "config.json"))
    found = "a whole pipeline" if (checkpoint.directory / "model_index.json").exists() else own.get("_class_name")
    if isinstance(found, str) and found != kind:
        raise _other_kind(name, checkpoint.name, found, base.name, kind)
    _compare(name, checkpoint.name, base.name, own, theirs)


def _other_kind(name: str, word: str, found: str, base: str, kind: str) -> CheckpointError:
    if "ControlNet" not in found:
        return CheckpointError(f"{word} is {found}, not a ControlNet. Give `{name}` the directory or hub id of one.")
    if found == UNION:
        return CheckpointError(
            f"{word} takes pictures of several kinds. Say which one by `control_mode`, one of its own numbers."
        )
    if kind == UNION:
        return CheckpointError(f"{word} takes pictures of one kind, so it has no `control_mode`. Leave it out.")
    return CheckpointError(
        f"{word} was made for another family than {base}: it is a {found}, not a {kind}. Give one made for it."
    )


def _config(file: Path) -> Mapping[str, Any]:
    try:
        said = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


_OF_UNETS = ("cross_attention_dim", "in_channels", "block_out_channels")
_OF_TRANSFORMERS = (
    "in_channels",
    "attention_head_dim",
    "num_attention_heads",
    "joint_attention_dim",
    "pooled_projection_dim",
    "dim",
)
"""Settings that a ControlNet has in common with what it stands beside."""
_GIVEN_TO_CONTROLNET = {"in_channels": "out_channels"}
"""A UNet for inpainting takes the mask and the picture beside the latents; a ControlNet gets these alone, as they come out."""


def _compare(name: str, word: str, base: str, own: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    of_unet = "block_out_channels" in theirs
    for setting in [one for one in (_OF_UNETS if of_unet else _OF_TRANSFORMERS) if one in own and one in theirs]:
        of_base = theirs.get(_GIVEN_TO_CONTROLNET.get(setting, setting), theirs[setting]) if of_unet else theirs[setting]
        # A config read from a file has lists where one made in Python has tuples.
        mine, other = (list(one) if isinstance(one, tuple) else one for one in (own[setting], of_base))
        if mine != other:
            raise CheckpointError(
                f"{word} was made for another family than {base}: its `{setting}` is {mine}, "
                f"not {other}. Give a `{name}` made for it."
            )


def checked_controlnet(name: str, loaded: LoadedModel, base: LoadedModel, kind: str) -> Any:
    """Return the ControlNet that a checkpoint consists of, where it fits another checkpoint's denoiser.

    Raises
    ------
    CheckpointError
        It is something else than its name says, or was made for another base.
    """
    word = loaded.checkpoint.name
    model: Any = loaded.components.get(".")
    if not isinstance(model, getattr(diffusers, kind)):
        raise _other_kind(
            name, word, type(model).__name__ if model is not None else "a whole pipeline", base.checkpoint.name, kind
        )
    denoiser = base.components.get("unet") or base.components["transformer"]
    _compare(name, word, base.checkpoint.name, model.config, denoiser.config)
    return model


def assemble(pipeline_class: Any, base: LoadedModel, more: Mapping[str, Any], scheduler: str, settings: Mapping[str, Any]) -> Any:
    """Make a pipeline around resident components; its scheduler is one of this class, with these settings.

    `from_pipe` would do the same and cast the shared weights to float32 on the way
    (diffusers issue 12754); the constructor leaves them alone.
    """
    own, name = base.components["scheduler"], f"{scheduler}Scheduler"
    # A pipeline's constructor rewrites the config of the scheduler it is given, so it gets one of its own.
    fresh = type(own).from_config(own.config)
    accepted = inspect.signature(pipeline_class.__init__).parameters
    given = {**base.options, **base.components, **more, "scheduler": fresh, "add_watermarker": False}
    pipeline = pipeline_class(**{name: value for name, value in given.items() if name in accepted})
    if type(own).__name__ != name or settings:
        # As a person puts one in: afterwards, where nothing rewrites it.
        pipeline.scheduler = getattr(diffusers, name).from_config(own.config, **settings)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def name_text_model(pipeline: Any) -> None:
    """Let diffusers find the text encoder's last norm where it looks for it: transformers 5 has no `text_model` around it."""
    encoder = getattr(pipeline, "text_encoder", None)
    if encoder is not None and not hasattr(encoder, "text_model"):
        # Not as a submodule, which it would be a part of itself.
        vars(encoder)["text_model"] = encoder
