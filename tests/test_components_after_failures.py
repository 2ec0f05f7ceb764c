"""Shared components after a failure: whichever call of whichever part failed, in whatever way, they are as before."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import diffusers
import pytest
import torch
from PIL import Image

from nbdiffuse import Recipe, Session, resolve
from nbdiffuse.errors import NbdiffuseError

FAULTS: dict[str, Callable[[], BaseException]] = {
    "an error": lambda: RuntimeError("size mismatch"),
    "an interrupt": KeyboardInterrupt,
    "memory": lambda: torch.OutOfMemoryError("CUDA out of memory"),
}
LASTING = ("memory",)
"""What every later call fails with, too, so that each thing that is tried in its place fails as well."""
METHODS = ("forward", "encode", "decode", "step", "set_timesteps", "scale_model_input")


def state(component: Any, exactly: bool) -> Any:
    """Return all that a run could leave behind in a component; `exactly` with its weights' content."""
    own = sorted(vars(component))
    assert not {*METHODS} & {*own}, f"{type(component).__name__} keeps what was put around its methods"
    config = repr(getattr(component, "config", None))
    if not isinstance(component, torch.nn.Module):
        settings = [getattr(component, name, None) for name in ("model_max_length", "padding_side", "truncation_side")]
        return type(component).__name__, own, config, settings
    digest = hashlib.sha256()
    for key, tensor in component.state_dict().items():
        digest.update(f"{key} {tensor.dtype} {tensor.device} {tensor.requires_grad}".encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes() if exactly else f"{tensor._version}".encode())
    hooks = [
        (name, [len(getattr(module, kind)) for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")])
        for name, module in component.named_modules()
    ]
    modes = [module.training for module in component.modules()]
    flags = [getattr(component, name, None) for name in ("use_tiling", "use_slicing", "gradient_checkpointing")]
    attention = sorted(f"{name} {type(one).__name__}" for name, one in getattr(component, "attn_processors", {}).items())
    return type(component).__name__, own, config, digest.hexdigest(), hooks, modes, flags, attention


def states(session: Session, words: tuple[str, ...], exactly: bool = False) -> Any:
    assert session._engine is not None
    pipelines = session._engine.pipelines
    held = {
        f"{word} {name}": state(component, exactly)
        for word in words
        for name, component in pipelines.components(word).items()
        if component is not None
    }
    return held, torch.get_default_dtype(), torch.get_rng_state().sum().item()


@contextmanager
def failing(owner: Any, name: str, at: int, fault: str = "") -> Iterator[list[int]]:
    """Let a method of a component fail at its call number `at`, from 1; yield the count of its calls."""
    original, found, calls = getattr(owner, name), vars(owner).get(name), [0]

    @functools.wraps(original)
    def method(*given: Any, **named: Any) -> Any:
        calls[0] += 1
        if fault and (calls[0] == at or (fault in LASTING and calls[0] > at)):
            raise FAULTS[fault]()
        return original(*given, **named)

    setattr(owner, name, method)
    try:
        yield calls
        assert vars(owner).get(name) is method, "a run took away what it found"
    finally:
        delattr(owner, name)
        if found is not None:
            setattr(owner, name, found)


def places(parts: dict[str, Any]) -> list[tuple[str, Any, str]]:
    """Return every method of every part that a run calls."""
    found = []
    for name, part in parts.items():
        for method in METHODS:
            if hasattr(part, method) and not (method == "forward" and hasattr(part, "decode")):
                found.append((name, part, method))
    return found


def cases(scene: Any) -> dict[str, tuple[Recipe, tuple[str, ...]]]:
    mask = Image.new("L", (128, 128), 0)
    mask.paste(255, (32, 32, 96, 96))
    start = {"prompt": "a cat", "negative_prompt": "a dog", "image": scene.image, "num_inference_steps": 2, "seed": 3}
    whole = {**start, "strength": 1.0}
    return {
        "img2img": (Recipe(**whole), ("sd15",)),
        "txt2img": (Recipe(prompt="a cat", num_inference_steps=2, seed=3), ("sd15",)),
        "inpainting": (Recipe(**whole, mask_image=mask), ("sd15",)),
        "controlnet": (Recipe(**whole, controlnet="depth", control_image=scene.depth), ("sd15", "controlnet-depth")),
        "sdxl": (Recipe(**whole, model="sdxl"), ("sdxl",)),
        "refiner": (Recipe(**whole, model="sdxl-refiner"), ("sdxl-refiner",)),
        "kandinsky22": (Recipe(**whole, model="kandinsky22", prior_num_inference_steps=2), ("kandinsky22",)),
        "x2-upscaler": (Recipe(**start, model="x2-upscaler"), ("x2-upscaler",)),
        "x4-upscaler": (Recipe(**start, model="x4-upscaler"), ("x4-upscaler",)),
    }


NORMAL = ("img2img", "inpainting", "controlnet", "sdxl", "kandinsky22")
CASES = [
    pytest.param(name, marks=() if name in NORMAL else pytest.mark.slow)
    for name in (*NORMAL, "txt2img", "refiner", "x2-upscaler", "x4-upscaler")
]


@pytest.mark.parametrize("name", CASES)
def test_components_are_as_before_whichever_call_fails(name: str, session: Session, scene: Any, request: Any) -> None:
    recipe, words = cases(scene)[name]
    plain = session.run(recipe).image.tobytes()
    everything = "slow" in request.config.option.markexpr.replace("not slow", "")
    assert session._engine is not None
    engine = session._engine
    parts = {f"{word} {key}": part for word in words for key, part in engine.pipelines.components(word).items() if part}
    before, exact, tried = states(session, words), states(session, words, exactly=True), 0
    # Each run has a scheduler of its own.
    parts["own scheduler"] = getattr(diffusers, f"{resolve(recipe).scheduler}Scheduler")
    for label, part, method in places(parts):
        engine.embedding_cache.clear()
        with failing(part, method, 0) as calls:
            session.run(recipe)
        for call in range(1, calls[0] + 1) if everything else sorted({min(1, calls[0]), calls[0]} - {0}):
            # Not every kind at every place, but each kind at many.
            for fault in FAULTS if everything or method == "decode" else [list(FAULTS)[tried % len(FAULTS)]]:
                engine.embedding_cache.clear()
                with failing(part, method, call, fault):
                    # What runs out of memory may be done in another way.
                    try:
                        made: Any = session.run(recipe)
                    except NbdiffuseError as error:
                        made = error
                if fault != "memory":
                    assert isinstance(made, NbdiffuseError), f"{label}.{method}: {fault} at call {call} was swallowed"
                after = states(session, words)
                assert after == before, f"{label}.{method}: {fault} at call {call}"
                tried += 1
    assert tried >= 8 and states(session, words, exactly=True) == exact
    assert session.run(recipe).image.tobytes() == plain
    engine.embedding_cache.clear()
    assert session.run(recipe).image.tobytes() == plain


def test_a_half_precision_vae_is_as_before_when_its_second_try_fails(scene: Any) -> None:
    session = Session()
    session.with_pipelines(lambda pipelines: pipelines.set_optimization("dtype", "bfloat16"))
    recipe = Recipe(prompt="a cat", image=scene.image, num_inference_steps=1, strength=1.0, seed=1)
    plain = session.run(recipe).image.tobytes()
    assert session._engine is not None
    vae = session._engine.pipelines.components("sd15")["vae"]
    before = states(session, ("sd15",), exactly=True)
    for layer in (vae.encoder.conv_out, vae.decoder.conv_out):
        for fault in FAULTS:

            def fail(module: Any, inputs: Any, output: Any, fault: str = fault) -> Any:
                if output.dtype == torch.float32:
                    raise FAULTS[fault]()
                return torch.full_like(output, torch.nan)

            session._engine.embedding_cache.clear()
            hook = layer.register_forward_hook(fail)
            try:
                with pytest.raises(NbdiffuseError):
                    session.run(recipe)
            finally:
                hook.remove()
            assert states(session, ("sd15",), exactly=True) == before
    session._engine.embedding_cache.clear()
    assert session.run(recipe).image.tobytes() == plain
