"""What a recipe sets of its scheduler: a part whose fields are constructor arguments of diffusers' scheduler classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..families.parameters import Param
from .parts import Part, declared_in_part


@dataclass(frozen=True, kw_only=True)
class SchedulerConfig(Part):
    """What is set of the scheduler, whatever the checkpoint's own config says; under diffusers' own names.

    Parameters
    ----------
    use_karras_sigmas, use_exponential_sigmas, use_beta_sigmas, use_lu_lambdas
        The noise levels of the steps: at most one of these is true. Karras et al. 2022
        (arXiv:2206.00364), equation 5; even in the logarithm; quantiles of a beta
        distribution (arXiv:2407.12173); Lu et al. 2022 (arXiv:2211.01095).
    timestep_spacing
        Which of the training's timesteps the steps are, table 2 of arXiv:2305.08891.
    rescale_betas_zero_snr
        Whether the last timestep is pure noise, algorithm 1 of arXiv:2305.08891.
    algorithm_type
        What a solver of DPM's kind integrates; those that begin "sde-" draw noise at each step.
    solver_order
        Order of the solver, in [1, 3].
    solver_type
        How its second order is written.
    final_sigmas_type
        Noise level that the last step ends at: "zero", or that of the training's first timestep.
    lower_order_final
        Whether a run of few steps ends at a lower order.
    euler_at_final
        Whether the last step is one of Euler's.
    shift
        How far noise levels of flow matching are moved up, in [0.01, 100]: s σ / (1 + (s - 1) σ).
    use_dynamic_shifting
        Whether that follows from the size of the picture instead.

    Raises
    ------
    ParameterError
        A value breaks its rule.
    """

    TITLE: ClassVar[str] = "scheduler_config"

    use_karras_sigmas: bool | None = declared_in_part(
        "use_karras_sigmas", Param(bool, "space the noise levels as Karras et al. do, closer where there is little noise")
    )
    use_exponential_sigmas: bool | None = declared_in_part(
        "use_exponential_sigmas", Param(bool, "space the noise levels evenly in their logarithm")
    )
    use_beta_sigmas: bool | None = declared_in_part(
        "use_beta_sigmas", Param(bool, "space the noise levels as a beta distribution, closer at both ends")
    )
    use_lu_lambdas: bool | None = declared_in_part(
        "use_lu_lambdas", Param(bool, "space the noise levels evenly in half the log of signal to noise, as Lu et al. do")
    )
    timestep_spacing: str | None = declared_in_part(
        "timestep_spacing",
        Param(str, "which of the training's timesteps the steps are", choices=("linspace", "leading", "trailing")),
    )
    rescale_betas_zero_snr: bool | None = declared_in_part(
        "rescale_betas_zero_snr", Param(bool, "let the schedule begin with noise alone, for weights trained so")
    )
    algorithm_type: str | None = declared_in_part(
        "algorithm_type",
        Param(
            str,
            "what the solver integrates",
            choices=(
                "dpmsolver",
                "dpmsolver++",
                "sde-dpmsolver",
                "sde-dpmsolver++",
                "deis",
                "data_prediction",
                "noise_prediction",
            ),
        ),
    )
    solver_order: int | None = declared_in_part("solver_order", Param(int, "order of the solver", 1, 3, 1))
    solver_type: str | None = declared_in_part(
        "solver_type",
        Param(str, "how the solver's second order is written", choices=("midpoint", "heun", "bh1", "bh2", "logrho")),
    )
    final_sigmas_type: str | None = declared_in_part(
        "final_sigmas_type", Param(str, "noise level that the last step ends at", choices=("zero", "sigma_min"))
    )
    lower_order_final: bool | None = declared_in_part(
        "lower_order_final", Param(bool, "end at a lower order, which steadies runs of few steps")
    )
    euler_at_final: bool | None = declared_in_part("euler_at_final", Param(bool, "make the last step one of Euler's"))
    shift: float | None = declared_in_part(
        "shift", Param(float, "how far the noise levels of flow matching are moved up", 0.01, 100, 0.1, usual=(1, 10))
    )
    use_dynamic_shifting: bool | None = declared_in_part(
        "use_dynamic_shifting", Param(bool, "move the noise levels up by the size of the picture, and not by `shift`")
    )
