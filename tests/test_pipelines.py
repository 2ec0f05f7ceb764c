"""Resident pipelines: loaded once, shared between tasks, whole or not at all, within a budget."""

from __future__ import annotations

import gc
import hashlib
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nbdiffuse import embedded
from nbdiffuse.errors import CheckpointError, ParameterError
from nbdiffuse.pipelines.pipelines import Pipelines

BASE = "sd15"
TASKS = {
    "txt2img": "StableDiffusionPipeline",
    "img2img": "StableDiffusionImg2ImgPipeline",
    "control": "StableDiffusionControlNetImg2ImgPipeline",
}
TASKS_BUT_CONTROL = ("txt2img", "img2img")


@pytest.fixture(scope="module")
def controlnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ControlNet for the embedded base, as a directory of one model."""
    import diffusers

    unet = diffusers.UNet2DConditionModel.from_pretrained(embedded.path("sd15") / "unet")
    directory = tmp_path_factory.mktemp("controlnet")
    diffusers.ControlNetModel.from_unet(unet, conditioning_channels=3).save_pretrained(directory)
    return directory


@pytest.fixture
def copies(tmp_path: Path) -> Callable[[str], str]:
    """Make other checkpoints: the embedded base with another weight, under a name."""
    from safetensors.torch import load_file, save_file

    def make(name: str) -> str:
        target = tmp_path / name
        for file in embedded.path("sd15").rglob("*"):
            if file.is_file():
                copy = target / file.relative_to(embedded.path("sd15"))
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(file.read_bytes())
        weights = target / "unet" / "diffusion_pytorch_model.safetensors"
        state = load_file(weights)
        state["conv_out.bias"] += len(name) / 100
        save_file(state, weights)
        return str(target)

    return make


def call(pipeline: Any, **more: Any) -> bytes:
    """Run two steps and return the pixels."""
    generator = torch.Generator("cpu").manual_seed(1)
    images = pipeline("a cat", num_inference_steps=2, generator=generator, output_type="np", **more).images
    return np.ascontiguousarray(images).tobytes()


def fingerprint(pipeline: Any) -> str:
    """Hash everything of a pipeline's components that another one could change."""
    state: dict[str, Any] = {}
    for name, component in pipeline.components.items():
        if isinstance(component, torch.nn.Module):
            modules = dict(component.named_modules())
            state[name] = {
                "tensors": [(key, str(t.dtype), str(t.device), t.data_ptr()) for key, t in component.state_dict().items()],
                "sums": [float(t.detach().double().sum()) for t in component.parameters()],
                "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) + hasattr(m, "_hf_hook") for m in modules.values()],
                "training": [m.training for m in modules.values()],
                "processors": [type(getattr(m, "processor", None)).__name__ for m in modules.values()],
                "flags": [getattr(component, flag, None) for flag in ("use_tiling", "use_slicing", "gradient_checkpointing")],
                "own": sorted(key for key in vars(component) if callable(vars(component)[key])),
            }
        if hasattr(component, "config"):
            config = component.config
            state[f"{name} config"] = str(sorted((config if isinstance(config, dict) else config.to_dict()).items()))
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def test_a_checkpoint_is_loaded_once_for_all_its_tasks(monkeypatch: pytest.MonkeyPatch, controlnet: Path) -> None:
    import nbdiffuse.checkpoints.loading

    loads: list[str] = []
    load = nbdiffuse.checkpoints.loading.load
    monkeypatch.setattr(nbdiffuse.checkpoints.loading, "load", lambda one, *rest: (loads.append(one.name), load(one, *rest))[1])
    pipelines = Pipelines("cpu")
    made = [pipelines.acquire(BASE, TASKS[task], "PNDM") for task in TASKS_BUT_CONTROL * 2]
    made.append(pipelines.acquire(BASE, TASKS["control"], "PNDM", {"controlnet": str(controlnet)}))
    assert loads == ["sd15", str(controlnet)]
    for name in ("unet", "vae", "text_encoder", "tokenizer"):
        assert len({id(getattr(pipeline, name)) for pipeline in made}) == 1, name
    assert len({id(pipeline.scheduler) for pipeline in made}) == len(made)


def test_three_tasks_take_the_memory_of_one_and_the_controlnet(controlnet: Path) -> None:
    pipelines = Pipelines("cpu")
    for task in TASKS_BUT_CONTROL:
        pipelines.acquire(BASE, TASKS[task], "PNDM")
    one = sum(row.size for row in pipelines.table())
    control = pipelines.acquire(BASE, TASKS["control"], "PNDM", {"controlnet": str(controlnet)})
    added = sum(p.nbytes for p in control.controlnet.parameters())
    assert sum(row.size for row in pipelines.table()) <= 1.02 * one + added
    storages = {
        p.data_ptr(): p.nbytes for part in control.components.values() if hasattr(part, "parameters") for p in part.parameters()
    }
    assert sum(storages.values()) <= 1.02 * one + added


@pytest.mark.parametrize("first", TASKS)
@pytest.mark.parametrize("second", TASKS)
def test_making_one_pipeline_from_another_changes_nothing_in_it(first: str, second: str, controlnet: Path, scene: Any) -> None:
    pipelines = Pipelines("cpu")

    def make(task: str, scheduler: str) -> Any:
        extras = {"controlnet": str(controlnet)} if task == "control" else {}
        return pipelines.acquire(BASE, TASKS[task], scheduler, extras)

    def run(pipeline: Any, task: str) -> bytes:
        image = {} if task == "txt2img" else {"image": scene.image}
        control = {"control_image": scene.image} if task == "control" else {}
        return call(pipeline, **image, **control)

    a = make(first, "PNDM")
    before = fingerprint(a), run(a, first)
    b = make(second, "EulerAncestralDiscrete")
    b.scheduler.set_timesteps(7)
    run(b, second)
    assert (fingerprint(a), run(a, first)) == before


def test_the_dtype_survives_sharing() -> None:
    pipelines = Pipelines("cpu")
    pipelines.set_optimization("dtype", "bfloat16")
    a = pipelines.acquire(BASE, TASKS["txt2img"], "PNDM")
    pipelines.acquire(BASE, TASKS["img2img"], "PNDM")
    assert {p.dtype for part in (a.unet, a.vae, a.text_encoder) for p in part.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("failure", [RuntimeError("no"), OSError("disk"), torch.OutOfMemoryError("full"), KeyboardInterrupt()])
def test_a_load_that_fails_after_any_component_leaves_nothing_and_the_next_one_works(
    monkeypatch: pytest.MonkeyPatch, raw: Callable[[str], Any], failure: BaseException
) -> None:
    import diffusers
    import transformers

    expected = call(raw("StableDiffusionPipeline"), height=64, width=64)
    pipelines = Pipelines("cpu")
    owners = (
        transformers.CLIPTextModel,
        diffusers.UNet2DConditionModel,
        diffusers.AutoencoderKL,
        diffusers.StableDiffusionPipeline,
    )
    loaded: list[Any] = []
    for k in range(len(owners)):
        with monkeypatch.context() as patch:
            for owner in owners:
                original = owner.from_pretrained

                def load(*args: Any, original: Any = original, k: int = k, **kwargs: Any) -> Any:
                    if len(loaded) == k:
                        raise failure
                    made = original(*args, **kwargs)
                    loaded.append(weakref.ref(made[0] if isinstance(made, tuple) else made))
                    return made

                patch.setattr(owner, "from_pretrained", load)
            with pytest.raises((CheckpointError, torch.OutOfMemoryError, KeyboardInterrupt)) as caught:
                pipelines.acquire(BASE, TASKS["txt2img"], "PNDM")
            if isinstance(failure, (RuntimeError, OSError)) and not isinstance(failure, torch.OutOfMemoryError):
                assert isinstance(caught.value, CheckpointError) and "sd15" in str(caught.value)
        del caught
        failure.__traceback__ = None
        gc.collect()
        assert len(loaded) == k and pipelines.table() == [] and not any(model() is not None for model in loaded)
        loaded.clear()
    assert call(pipelines.acquire(BASE, TASKS["txt2img"], "PNDM"), height=64, width=64) == expected


def test_the_table_says_what_is_held(controlnet: Path) -> None:
    pipelines = Pipelines("cpu")
    pipelines.acquire(BASE, TASKS["txt2img"], "PNDM")
    pipelines.acquire(BASE, TASKS["control"], "PNDM", {"controlnet": str(controlnet)})
    pipelines.acquire(BASE, TASKS["img2img"], "PNDM")
    base, control = pipelines.table()
    assert (base.checkpoint, base.components) == ("sd15", ("text_encoder", "unet", "vae"))
    assert base.shared == tuple(sorted(TASKS.values())) and control.shared == (TASKS["control"],)
    parts = pipelines.components("sd15")
    assert base.size == sum(p.nbytes for name in base.components for p in (*parts[name].parameters(), *parts[name].buffers()))
    assert (base.device, base.dtype) == ("cpu", "float32") and base.when >= control.when > 0


def test_over_budget_the_least_recently_used_goes(copies: Callable[[str], str]) -> None:
    pipelines = Pipelines("cpu")
    first, second, third = (copies(name) for name in ("a", "bb", "ccc"))
    pipelines.acquire(first, TASKS["txt2img"], "PNDM")
    pipelines.set_budget(int(2.5 * pipelines.table()[0].size))
    pipelines.acquire(second, TASKS["txt2img"], "PNDM")
    pipelines.acquire(first, TASKS["img2img"], "PNDM")
    gone = weakref.ref(pipelines.components(second)["unet"])
    pipelines.acquire(third, TASKS["txt2img"], "PNDM")
    assert [row.checkpoint for row in pipelines.table()] == [third, first]
    assert gone() is None
    assert sum(row.size for row in pipelines.table()) <= pipelines.budget


def test_a_smaller_budget_acts_at_once_and_one_that_nothing_fits_refuses(copies: Callable[[str], str]) -> None:
    pipelines = Pipelines("cpu")
    for name in ("a", "bb"):
        pipelines.acquire(copies(name), TASKS["txt2img"], "PNDM")
    size = pipelines.table()[0].size
    pipelines.set_budget(size)
    assert len(pipelines.table()) == 1
    pipelines.set_budget(size // 2)
    assert pipelines.table() == []
    with pytest.raises(
        CheckpointError, match=r"sd15 needs 30\.\d MB and the budget is 15\.\d MB\. Raise it with `%diffuse budget"
    ):
        pipelines.acquire(BASE, TASKS["txt2img"], "PNDM")
    pipelines.set_budget(None)
    pipelines.acquire(BASE, TASKS["txt2img"], "PNDM")


def test_what_a_pipeline_is_made_of_does_not_push_itself_out(controlnet: Path) -> None:
    pipelines = Pipelines("cpu")
    pipelines.acquire(BASE, TASKS["txt2img"], "PNDM")
    pipelines.set_budget(pipelines.table()[0].size + 1)
    made = pipelines.acquire(BASE, TASKS["control"], "PNDM", {"controlnet": str(controlnet)})
    assert made.unet is pipelines.components("sd15")["unet"]


@pytest.mark.quick
def test_an_unloaded_checkpoint_is_free_and_loads_again() -> None:
    pipelines = Pipelines("cpu")
    unet = weakref.ref(pipelines.acquire(BASE, TASKS["txt2img"], "PNDM").unet)
    size = pipelines.table()[0].size
    with pytest.raises(ParameterError, match=r"`unload` must name a checkpoint in memory, got 'sd14'\. Did you mean 'sd15'\?"):
        pipelines.unload("sd14")
    assert pipelines.unload("sd15") == size and pipelines.table() == []
    gc.collect()
    assert unet() is None
    assert pipelines.unload() == 0
    pipelines.acquire(BASE, TASKS["txt2img"], "PNDM")
    assert pipelines.table()[0].size == size


def test_other_weights_have_another_identity_and_other_pixels(copies: Callable[[str], str]) -> None:
    pipelines = Pipelines("cpu")
    first, second = copies("a"), copies("bb")
    assert len({pipelines.identity(one) for one in (BASE, first, second)}) == 3
    made = [call(pipelines.acquire(one, TASKS["txt2img"], "DDIM"), height=64, width=64) for one in (first, second, first)]
    assert made[0] == made[2] != made[1]


def test_a_relative_path_means_the_directory_that_it_meant_where_it_was_typed(
    copies: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipelines = Pipelines("cpu")
    for place in ("one", "another one"):
        copies(f"{place}/mine")
    monkeypatch.chdir(tmp_path / "one")
    first = pipelines.identity("mine")
    monkeypatch.chdir(tmp_path / "another one")
    assert pipelines.identity("mine") != first


def test_a_checkpoint_is_unloaded_by_any_word_that_it_was_asked_for_by(
    copies: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipelines = Pipelines("cpu")
    whole = copies("mine")
    monkeypatch.chdir(tmp_path)
    pipelines.acquire(whole, TASKS["txt2img"], "DDIM")
    pipelines.acquire("./mine", TASKS["txt2img"], "DDIM")
    assert len(pipelines.table()) == 1
    assert pipelines.unload("./mine") > 0 and pipelines.table() == []
