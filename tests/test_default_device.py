"""Where models run when nobody says: CUDA, then Apple's GPU, then the CPU; a stand-in answers for hardware that is not here."""

from __future__ import annotations

import pytest
import torch

from nbdiffuse.devices import failures, memory
from nbdiffuse.devices.offload import RAM, choose
from nbdiffuse.devices.optimizations import Optimizations
from nbdiffuse.pipelines.model_cache import ModelCache
from nbdiffuse.pipelines.pipelines import Pipelines


@pytest.fixture
def apple(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine with Apple's GPU and no other, as far as torch is asked about it."""
    called: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 12_000_000_000)
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 2_000_000_000)
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: called.append("emptied"))
    return called


@pytest.mark.parametrize(("cuda", "mps", "device"), [(1, 1, "cuda:0"), (0, 1, "mps:0"), (1, 0, "cuda:0"), (0, 0, "cpu")])
def test_cuda_comes_before_mps_and_mps_before_the_cpu(cuda: int, mps: int, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: bool(mps))
    assert memory.default_device() == device


@pytest.mark.parametrize("asked", [None, "mps", "mps:0"])
def test_pipelines_take_it_with_its_number_in_float32(asked: str | None, apple: list[str]) -> None:
    pipelines = Pipelines(asked)
    # A tensor on it says "mps:0", and is compared with this.
    assert pipelines.device == torch.device("mps", 0)
    assert pipelines.dtype == torch.float32
    assert Optimizations(dtype="float16").dtype_on(pipelines.device) == torch.float16


def test_its_memory_bounds_the_budget_and_the_way_of_offloading(apple: list[str]) -> None:
    device = torch.device("mps", 0)
    residents = ModelCache(device, torch.float32)
    assert residents.budget == int(memory.SHARE_OF_FREE * 10_000_000_000)
    assert choose({"unet": 5_000_000_000, "vae": 4_000_000_000}, residents.budget) == "model"
    assert device != RAM
    assert "10.0 GB are free" in failures.out_of_memory_line(device, (512, 512), Optimizations().relief(device))


def test_its_shortage_is_known_and_its_cache_is_emptied(apple: list[str]) -> None:
    said = "MPS backend out of memory (MPS allocated: 9.05 GB, other allocations: 4.00 MB, max allowed: 9.07 GB)."
    assert failures.is_out_of_memory(RuntimeError(said))
    failures.free_caches()
    assert apple == ["emptied"]


def test_the_cpu_can_still_be_asked_for(apple: list[str]) -> None:
    assert Pipelines("cpu").device == RAM
