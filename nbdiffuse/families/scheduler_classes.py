"""Scheduler classes of diffusers, read from its source: what each takes and what it can do."""

from __future__ import annotations

import ast
import importlib.util
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SUFFIX = "Scheduler"


@dataclass(frozen=True)
class SchedulerClass:
    """What the source of one scheduler class of diffusers says.

    Parameters
    ----------
    name
        Without "Scheduler".
    settings
        Constructor arguments that have a default, with it.
    order
        Model calls of a step; None where the class does not say.
    predictions
        Values of `prediction_type` that its `step` knows.
    driven
        Whether the pipelines of Stable Diffusion and its kin can drive it at all.
    kind
        "noise" for the discrete noise schedules of Stable Diffusion and its kin, "flow"
        for flow matching, "other" for what weights must have been made for.
    takes_generator
        Whether its `step` takes a generator.
    scales_input
        Whether the model is given something else than the latents as they are.
    has_sigmas
        Whether it keeps its noise levels in `sigmas`.
    takes_shift
        Whether its `set_timesteps` is given noise levels and a shift, as Flux and its kin do,
        and its `step` draws no noise of its own: these pipelines hand it no generator, so no seed would reach it.
    gives_denoised
        Whether its `step` gives the clean latents beside the next ones, as latent consistency models need.
    used
        Names of `settings` that its code reads; the others change nothing.
    choices
        Values that a setting may have, where the class refuses others.
    takes_eta
        Whether its `step` takes an `eta`.
    lists
        Which of "timesteps" and "sigmas" its `set_timesteps` takes in place of a number of steps.
    """

    name: str
    settings: Mapping[str, Any]
    order: int | None
    predictions: frozenset[str]
    driven: bool
    kind: str
    takes_generator: bool
    scales_input: bool
    has_sigmas: bool
    takes_shift: bool
    gives_denoised: bool
    used: frozenset[str]
    choices: Mapping[str, tuple[str, ...]]
    takes_eta: bool
    lists: frozenset[str]

    def serves(self, needs: str, kind: str = "noise") -> bool:
        """Tell whether it may stand in for a checkpoint's own in a pipeline of this kind that needs this, see `Family`."""
        if kind != "noise":
            return self.kind == kind and (needs != "shift" or self.takes_shift)
        if not self.driven or self.kind != "noise":
            return False
        if needs == "generator":
            return self.takes_generator and not self.scales_input and self.order == 1
        if needs == "denoised":
            return self.gives_denoised
        return needs != "sigmas" or (self.has_sigmas and self.scales_input)


@cache
def names() -> frozenset[str]:
    """Return the names of all scheduler classes of the installed diffusers, without "Scheduler"."""
    return frozenset(_files())


@cache
def scheduler_class(name: str) -> SchedulerClass | None:
    """Return what diffusers' source says of a scheduler class, or None where diffusers has none of that name.

    Nothing is imported: the file is parsed, once a process.

    Parameters
    ----------
    name
        Without "Scheduler".
    """
    file = _files().get(name)
    if file is None:
        return None
    tree = ast.parse(file.read_text("utf-8"))
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name + SUFFIX)
    methods = {node.name: node for node in found.body if isinstance(node, ast.FunctionDef)}
    settings = _defaults(methods["__init__"]) if "__init__" in methods else {}
    assigned = {
        target.id: node.value
        for node in found.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    order = assigned.get("order")
    return SchedulerClass(
        name=name,
        settings=settings,
        order=order.value if isinstance(order, ast.Constant) and isinstance(order.value, int) else None,
        predictions=frozenset(_predictions(found)),
        driven=_driven(methods) and "order" in assigned,
        kind=_kind(name, settings),
        takes_generator="generator" in _arguments(methods.get("step")),
        scales_input="scale_model_input" in methods and not _returns_its_argument(methods["scale_model_input"]),
        has_sigmas=any(isinstance(node, ast.Attribute) and ast.unparse(node) == "self.sigmas" for node in ast.walk(found)),
        takes_shift={"sigmas", "mu"} <= _arguments(methods.get("set_timesteps"))
        and "scale_noise" in methods
        and not _always_draws(methods["step"]),
        gives_denoised="step" in methods and "denoised=denoised" in ast.unparse(methods["step"]),
        used=frozenset(_read(found, methods) & set(settings)),
        choices=_choices(methods),
        takes_eta="eta" in _arguments(methods.get("step")),
        lists=frozenset({"timesteps", "sigmas"} & _arguments(methods.get("set_timesteps"))),
    )


@cache
def _files() -> Mapping[str, Path]:
    spec = importlib.util.find_spec("diffusers")
    if spec is None or not spec.submodule_search_locations:
        return {}
    folder = Path(spec.submodule_search_locations[0]) / "schedulers"
    found = (
        (file, file.read_text("utf-8")) for file in sorted(folder.glob("scheduling_*.py")) if not file.stem.endswith("_flax")
    )
    return {name: file for file, text in found for name in re.findall(rf"^class (\w+){SUFFIX}\(", text, re.MULTILINE)}


def _driven(methods: Mapping[str, ast.FunctionDef]) -> bool:
    step = methods.get("step")
    required = len(step.args.args) - len(step.args.defaults) if step else 0
    return {"add_noise", "scale_model_input", "set_timesteps"} <= set(methods) and required == 4  # self and three more


def _kind(name: str, settings: Mapping[str, Any]) -> str:
    if "shift" in settings or "FlowM" in name:
        return "flow"
    noise = {"beta_schedule", "prediction_type", "num_train_timesteps"} <= set(settings)
    return "noise" if noise and "Inverse" not in name else "other"


def _defaults(init: ast.FunctionDef) -> dict[str, Any]:
    arguments = init.args.args[len(init.args.args) - len(init.args.defaults) :]
    values = {}
    for argument, default in zip(arguments, init.args.defaults, strict=True):
        try:
            values[argument.arg] = ast.literal_eval(default)
        except ValueError:  # an expression: the one there is stands for "no bound"
            values[argument.arg] = -math.inf if ast.unparse(default) == "-float('inf')" else None
    return values


def _arguments(function: ast.FunctionDef | None) -> set[str]:
    return {one.arg for one in (*function.args.args, *function.args.kwonlyargs)} if function else set()


def _read(found: ast.ClassDef, methods: Mapping[str, ast.FunctionDef]) -> set[str]:
    """Return the names that a class reads from its config, or from its constructor's arguments."""
    nodes = [node for node in ast.walk(found) if isinstance(node, ast.Attribute)]
    from_config = {node.attr for node in nodes if ast.unparse(node.value).endswith("config")}
    loaded = ast.walk(methods["__init__"]) if "__init__" in methods else ()
    return from_config | {node.id for node in loaded if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _choices(methods: Mapping[str, ast.FunctionDef]) -> dict[str, tuple[str, ...]]:
    """Return what the constructor lets a setting be, from its lines such as `if algorithm_type not in ["deis"]`."""
    found: dict[str, tuple[str, ...]] = {}
    for node in ast.walk(methods["__init__"]) if "__init__" in methods else ():
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Name) and isinstance(node.ops[0], ast.NotIn):
            found.setdefault(node.left.id, tuple(_texts(node.comparators[0])))
    return found


def _always_draws(step: ast.FunctionDef) -> bool:
    return any("randn_tensor(" in ast.unparse(line) for line in step.body if not isinstance(line, ast.If))


def _returns_its_argument(function: ast.FunctionDef) -> bool:
    last = function.body[-1]
    return isinstance(last, ast.Return) and ast.unparse(last) == "return sample" and len(function.body) <= 2


def _predictions(tree: ast.ClassDef) -> Iterator[str]:
    """Yield the prediction types that a class compares its own with and does not answer by an error."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.If) or "prediction_type" not in ast.unparse(node.test):
            continue
        for test in ast.walk(node.test):
            if isinstance(test, ast.Compare) and "prediction_type" in ast.unparse(test.left):
                differs = isinstance(test.ops[0], (ast.NotEq, ast.NotIn))
                if differs or not isinstance(node.body[0], ast.Raise):
                    yield from _texts(test.comparators[0])


def _texts(node: ast.expr) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value
