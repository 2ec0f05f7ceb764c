"""Optimizations of speed and memory: they change how models are run, and leave what they were when moved back."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch

from nbdiffuse import Recipe, Session
from nbdiffuse.devices.offload import choose
from nbdiffuse.devices.optimizations import POSITIONS, Optimizations
from nbdiffuse.errors import NbdiffuseError, ParameterError

RECIPE = Recipe(prompt="a cat in the snow", num_inference_steps=3, seed=4)


@pytest.fixture
def own() -> Session:
    return Session()


def move(session: Session, name: str, value: str) -> None:
    session.with_pipelines(lambda pipelines: pipelines.set_optimization(name, value))


def state(session: Session) -> Any:
    """What an optimization could leave behind in shared components."""
    assert session._engine is not None
    found = {}
    for name, model in session._engine.pipelines.components("sd15").items():
        if isinstance(model, torch.nn.Module):
            modules = list(model.modules())
            found[name] = (
                [type(one).__name__ for one in getattr(model, "attn_processors", {}).values()],
                [tensor.is_contiguous() for tensor in model.parameters()],
                any(hasattr(module, "_hf_hook") for module in modules),
                any(module._compiled_call_impl is not None for module in modules),
                getattr(model, "use_tiling", None),
                {str(tensor.device) for tensor in model.parameters()},
            )
    return found


@pytest.mark.parametrize(
    ("name", "value"),
    [("attention", "plain"), ("offload", "model"), ("offload", "sequential"), ("channels_last", "on"), ("vae_tiling", "on")],
)
def test_a_lever_keeps_the_picture_and_leaves_nothing_behind(own: Session, name: str, value: str) -> None:
    plain = own.run(RECIPE)
    before = state(own)
    move(own, name, value)
    moved = own.run(RECIPE)
    assert state(own) != before
    difference = np.abs(np.asarray(moved.image, int) - np.asarray(plain.image, int)).max()
    assert difference == 0 if name == "offload" else difference <= 1
    assert (moved.fingerprint != plain.fingerprint) == (name != "offload")
    move(own, name, POSITIONS[name][0])
    assert own.run(RECIPE).image.tobytes() == plain.image.tobytes()
    assert state(own) == before


def test_another_dtype_reads_the_weights_again(own: Session) -> None:
    plain = own.run(RECIPE)
    move(own, "dtype", "bfloat16")
    assert own.with_pipelines(lambda pipelines: pipelines.table()) == []
    moved = own.run(RECIPE)
    (row,) = own.with_pipelines(lambda pipelines: pipelines.table())
    assert row.dtype == moved.fingerprint["dtype"] == "bfloat16"
    difference = np.abs(np.asarray(moved.image, int) - np.asarray(plain.image, int))
    assert 0 < difference.mean() < 8
    move(own, "attention", "sdpa")
    assert own.with_pipelines(lambda pipelines: pipelines.table()) != [], "another optimization leaves them where they are"
    move(own, "dtype", "float32")
    assert own.run(RECIPE).image.tobytes() == plain.image.tobytes()


def test_advice_for_short_memory_is_what_still_helps() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda:0")
    said = [
        Optimizations().relief(cpu),
        Optimizations(offload="none").relief(gpu),
        Optimizations().relief(gpu),
        Optimizations(dtype="float32").relief(gpu),
    ]
    assert said == ["dtype bfloat16", "offload auto", "", "dtype bfloat16"]
    assert Optimizations(dtype="bfloat16").relief(cpu) == ""


def test_compiling_marks_the_repeated_blocks_and_can_be_undone(own: Session) -> None:
    from nbdiffuse.devices.optimizations import apply

    own.run(RECIPE)
    before = state(own)
    assert own._engine is not None
    parts = own._engine.pipelines.components("sd15")
    apply(parts, Optimizations(compile="on"))
    blocks = [module for module in parts["unet"].modules() if type(module).__name__ == "BasicTransformerBlock"]
    assert blocks and all(block._compiled_call_impl is not None for block in blocks)
    apply(parts, Optimizations())
    assert state(own) == before


@pytest.mark.slow
def test_sliders_do_not_recompile(own: Session) -> None:
    import torch._dynamo

    move(own, "compile", "on")
    own.run(RECIPE)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for index in range(20):
            own.run(RECIPE.replace(seed=index, guidance_scale=2.0 + index / 2))


def test_the_fastest_mode_that_fits_is_chosen() -> None:
    sizes = {"unet": 70, "vae": 10, "text_encoder": 20}
    assert [choose(sizes, room) for room in (100, 99, 70, 69, 0)] == ["none", "model", "model", "sequential", "sequential"]


def test_a_lever_or_position_that_is_none_is_one_line() -> None:
    with pytest.raises(ParameterError, match=r"'atention' is no optimization. Did you mean 'attention'"):
        Optimizations().replace("atention", "plain")
    with pytest.raises(ParameterError, match=r"`offload` must be one of auto, none, model, sequential, got 'cpu'"):
        Optimizations().replace("offload", "cpu")


@pytest.mark.skipif(importlib.util.find_spec("xformers") is not None, reason="xFormers is installed here")
def test_a_missing_xformers_is_one_line_and_moves_nothing(own: Session) -> None:
    with pytest.raises(NbdiffuseError, match=r"needs xFormers, which is not installed\. Run `pip install"):
        move(own, "attention", "xformers")
    assert own.run(RECIPE).fingerprint["attention"] == "sdpa"
