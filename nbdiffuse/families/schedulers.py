"""Which scheduler may run: what a person names, what a checkpoint names, and what the one cannot do for the other."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from typing import Any

from ..errors import ParameterError, breaks_rule, did_you_mean
from .scheduler_classes import SUFFIX, names, scheduler_class
from .scheduler_names import sampler_of

SCHEDULERS = (
    "PNDM",
    "DDIM",
    "DDPM",
    "EulerDiscrete",
    "EulerAncestralDiscrete",
    "HeunDiscrete",
    "DPMSolverMultistep",
    "UniPCMultistep",
    "DPMSolverSinglestep",
    "KDPM2Discrete",
    "KDPM2AncestralDiscrete",
    "LMSDiscrete",
    "DEISMultistep",
    "SASolver",
    "LCM",
    "TCD",
)
"""Schedulers that help, completion and panels offer, by diffusers' class name without its suffix; others may be named, too."""
FLOW_SCHEDULERS = ("FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete")
"""The same for families of flow matching."""
_NEEDS_LIBRARY = {"DPMSolverSDE": "torchsde", "CosineDPMSolverMultistep": "torchsde"}
_MEANT_FOR_WEIGHTS = (
    "prediction_type",
    "rescale_betas_zero_snr",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "snr_shift_scale",
    "timestep_spacing",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "use_lu_lambdas",
    "use_flow_sigmas",
    "thresholding",
)
"""Settings that say how weights were trained or are meant to be sampled, whatever the solver; the others are a solver's own."""


def unhonoured(own: str, config: Mapping[str, Any], named: str) -> dict[str, Any]:
    """Return the settings of a checkpoint's scheduler that a scheduler named in its place has no argument for.

    Parameters
    ----------
    own
        The checkpoint's scheduler class, without "Scheduler".
    config
        Its config.
    named
        The class that is to run instead.

    Returns
    -------
    dict
        Setting and value, where the value is not what `own` has by default.
    """
    theirs, taken = scheduler_class(own), scheduler_class(named)
    if own == named or theirs is None or taken is None:
        return {}
    said = {name: config[name] for name in _MEANT_FOR_WEIGHTS if name in config and name not in taken.settings}
    return {name: value for name, value in said.items() if value not in (None, False, theirs.settings.get(name))}


def check(
    name: str, *, kind: str = "noise", needs: str = "", prediction: str | None = None, pipeline: str, own: bool = False
) -> None:
    """Raise `ParameterError` where a scheduler is none, or cannot run.

    Parameters
    ----------
    name
        diffusers' class name without "Scheduler".
    kind
        Kind of scheduler that the pipeline runs on: "noise" or "flow".
    needs
        What the pipeline needs of it, see `Family.scheduler_needs`.
    prediction
        The checkpoint's `prediction_type`, where it is known.
    pipeline
        What the line calls the model.
    own
        Whether it is the checkpoint's own: that may be any which its pipeline can drive.
    """
    examples = " or ".join((SCHEDULERS[1:4:2] if kind == "noise" else FLOW_SCHEDULERS)[:2])
    way_out = f"Name another, such as {examples}." if not needs else "See the schedulers that the panel offers."
    found = scheduler_class(name)
    if found is None:
        rule = "a scheduler class of the installed diffusers"
        raise ParameterError(breaks_rule("scheduler", rule, name, way_out if own else _advice(name)))
    if not (found.serves(needs, kind) or (own and found.driven and kind == "noise")):
        why = {
            "flow": "is for flow matching",
            "noise": "is for noise schedules",
            "other": "is only for weights that were made for it",
        }
        lacking = "lacks what this pipeline needs of a scheduler"
        reason = lacking if found.kind == kind else why.get(found.kind, "is only for weights that were made for it")
        raise ParameterError(f"`scheduler` must fit {pipeline}, got {name!r}, which {reason}. {way_out}")
    if prediction and found.predictions and prediction not in found.predictions:
        known = ", ".join(sorted(found.predictions))
        raise ParameterError(
            f"`scheduler` must know the prediction type {prediction!r} of this checkpoint, got {name!r}, which knows {known}. "
            f"{way_out}"
        )
    library = _NEEDS_LIBRARY.get(name)
    if library and importlib.util.find_spec(library) is None:
        raise ParameterError(f"`scheduler` {name!r} needs {library}, which is not installed. Run `pip install {library}`.")


def _advice(name: str) -> str:
    """Say what to type for a name that is no class: the nearest to another tool's sampler, a spelling, or a similar name."""
    sampler = sampler_of(name)
    if sampler is not None and sampler.scheduler is None:
        near = f" The nearest is {sampler.nearest}." if sampler.nearest else ""
        return f"No scheduler of diffusers does the same as {sampler.name}.{near}"
    spelt = {_plain(known): known for known in sorted(names())}
    word = _plain(name)
    for end in ("", "discrete", "multistep"):
        if word and word + end in spelt:
            return f"Type {spelt[word + end]}."
    return did_you_mean(name, [known for known in SCHEDULERS if known in names()])


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold()).removesuffix(SUFFIX.casefold())
