"""What may be set of a scheduler class: which settings it has, and which of them go together."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from ..errors import ParameterError
from .scheduler_classes import scheduler_class
from .schedulers import FLOW_SCHEDULERS, SCHEDULERS

SPACINGS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas")
"""Settings that space the noise levels; a scheduler follows one of them."""
FLOW_ONLY = frozenset({"shift", "use_dynamic_shifting"})
"""Settings of flow matching; classes for noise schedules have some, too, and do not follow them."""
_NOT_TO_ZERO = {"algorithm_type": ("dpmsolver", "sde-dpmsolver"), "solver_type": ("bh1",)}
"""Values with which a last step that ends at no noise divides by zero."""
_ENDS_LOW = ("DPMSolverSinglestep", "UniPCMultistep")
"""Classes that can end at no noise by a step of lower order alone."""
_FIRST_IS_NOISE = {
    **dict.fromkeys(("DDIM", "DDIMParallel", "DDPM", "DDPMParallel", "CogVideoXDDIM"), ("linspace", "trailing")),
    **dict.fromkeys(("LCM", "TCD"), ("linspace", "leading", "trailing")),
}
"""Classes that divide by the signal, and the spacings with which the first step is the training's last timestep."""
_CONVERTED = {
    ("DEISMultistep", "algorithm_type"): ("dpmsolver", "dpmsolver++"),
    ("DEISMultistep", "solver_type"): ("midpoint", "heun", "bh1", "bh2"),
    ("DPMSolverMultistep", "algorithm_type"): ("deis",),
    ("DPMSolverMultistep", "solver_type"): ("logrho", "bh1", "bh2"),
    ("DPMSolverSinglestep", "algorithm_type"): ("deis",),
    ("DPMSolverSinglestep", "solver_type"): ("logrho", "bh1", "bh2"),
    ("UniPCMultistep", "solver_type"): ("midpoint", "heun", "logrho"),
}
"""Values that a class takes from another one's config and replaces by its own."""


def has_setting(scheduler: str, name: str) -> bool:
    """Tell whether a scheduler class follows a setting, such as `use_karras_sigmas`.

    Parameters
    ----------
    scheduler
        diffusers' class name without "Scheduler".
    name
        Of a constructor argument.
    """
    found = scheduler_class(scheduler)
    if found is None or name not in found.used or len(found.choices.get(name, SPACINGS)) == 1:
        return False
    return name not in FLOW_ONLY or found.kind == "flow"


def check_settings(scheduler: str, settings: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Raise `ParameterError` where a scheduler class does not follow a setting, or refuses its value.

    Parameters
    ----------
    scheduler
        diffusers' class name without "Scheduler", one of the installed ones.
    settings
        What a person sets, by name.
    config
        What the checkpoint says of its scheduler.
    """
    found = scheduler_class(scheduler)
    if found is None:
        return
    for name, value in settings.items():
        if not has_setting(scheduler, name):
            raise ParameterError(f"`{name}` must be left out with {scheduler}, which does not follow it. {_those_with(name)}")
        if name in found.choices and value not in found.choices[name]:
            listed = ", ".join(found.choices[name])
            raise ParameterError(f"`{name}` must be one of {listed} for {scheduler}, got {value!r}.")
    merged = {name: settings.get(name, config.get(name, default)) for name, default in found.settings.items()}
    for name, allowed in found.choices.items():
        if merged[name] not in allowed and merged[name] not in _CONVERTED.get((scheduler, name), ()):
            line = f"`{name}` must be one of {', '.join(allowed)} for {scheduler}, and the checkpoint's is {merged[name]!r}."
            raise ParameterError(f"{line} Set it: `{name}` {allowed[0]}.")
    _check_spacings(scheduler, merged, settings)
    _check_together(scheduler, merged, settings)


def _those_with(name: str) -> str:
    others = [one for one in (*SCHEDULERS, *FLOW_SCHEDULERS) if has_setting(one, name)]
    return f"Those that do: {', '.join(others)}." if others else "No scheduler that is offered here does."


def _check_spacings(scheduler: str, merged: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    asked = [name for name in SPACINGS if merged.get(name) and has_setting(scheduler, name)]
    if len(asked) > 1:
        # What the checkpoint says of its own is what a person may not know of.
        other = next((name for name in asked if name not in settings), asked[1])
        whose = " by the checkpoint's own config" if other not in settings else ""
        first = next(name for name in asked if name != other)
        raise ParameterError(f"`{first}` must be the only one of its kind, and `{other}` is true{whose}. Set `{other}` to false.")
    if "use_beta_sigmas" in asked and importlib.util.find_spec("scipy") is None:
        raise ParameterError("`use_beta_sigmas` needs scipy, which is not installed. Run `pip install scipy`.")


def _check_together(scheduler: str, merged: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    to_zero = merged.get("final_sigmas_type") == "zero"
    for name, refused in _NOT_TO_ZERO.items():
        if to_zero and merged.get(name) in refused and has_setting(scheduler, name):
            line = f"`final_sigmas_type` must be sigma_min where `{name}` is {merged[name]}, got zero."
            raise ParameterError(f"{line} Set `final_sigmas_type` to sigma_min.")
    if scheduler in _ENDS_LOW and to_zero and settings.get("lower_order_final") is False:
        line = f"`lower_order_final` must be true for {scheduler} where `final_sigmas_type` is zero, got false."
        raise ParameterError(f"{line} Set `final_sigmas_type` to sigma_min, or leave it out.")
    noise_alone = _FIRST_IS_NOISE.get(scheduler, ())
    begins_with_noise = settings.get("rescale_betas_zero_snr") and merged.get("timestep_spacing") in noise_alone
    if begins_with_noise and merged.get("prediction_type") == "epsilon":
        line = f"`rescale_betas_zero_snr` must be false for {scheduler} where the model predicts the noise"
        raise ParameterError(f"{line}: of noise alone that says nothing. Take EulerDiscrete or DPMSolverMultistep.")
    if "shift" in settings and merged.get("use_dynamic_shifting"):
        line = "`shift` must be left out where `use_dynamic_shifting` is true: the picture's size says it."
        raise ParameterError(f"{line} Leave it out, or set `use_dynamic_shifting` to false.")
