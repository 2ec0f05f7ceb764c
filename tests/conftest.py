"""Shared ground of the tests: one session, raw diffusers pipelines, a real kernel."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hub import Hub
from hypothesis import settings
from real_kernel import Kernel

os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores; set before torch is imported, and heard by every process that a test starts.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# What an earlier version stored must not answer for this one.
os.environ["NBDIFFUSE_CACHE"] = tempfile.mkdtemp(prefix="nbdiffuse-tests-")
settings.register_profile("quick", max_examples=60, deadline=None)
settings.load_profile("quick")


@pytest.fixture(scope="session")
def session() -> Any:
    """The process's own session."""
    import nbdiffuse

    return nbdiffuse.get_session()


@pytest.fixture(scope="session")
def scene() -> Any:
    """A scene of the embedded world, as an initial picture."""
    from nbdiffuse.embedded import world

    return world.sample(3_000_003)


@pytest.fixture(scope="session")
def raw() -> Callable[[str], Any]:
    """Return raw diffusers pipelines on the embedded base checkpoint, by class name."""
    import diffusers

    import nbdiffuse

    loaded: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name not in loaded:
            pipeline = getattr(diffusers, name).from_pretrained(nbdiffuse.embedded.path("sd15"))
            pipeline.set_progress_bar_config(disable=True)
            loaded[name] = pipeline
        return loaded[name]

    return get


@pytest.fixture(scope="session")
def guide_repos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny twins of the guide's repositories, by id."""
    import guide

    return guide.write(tmp_path_factory.mktemp("guide"))


@pytest.fixture(scope="session")
def family_checkpoints(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `tiny_families` writes its checkpoints, kept between runs of the tests where pytest keeps anything."""
    import tiny_families

    cache = getattr(request.config, "cache", None)
    if cache is None:
        return tmp_path_factory.mktemp("families")
    kept: Path = cache.mkdir(f"families-{tiny_families.version()}")
    return kept


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty hub on loopback that this process's client asks, with a cache of its own."""
    from huggingface_hub import constants, hf_api

    server = Hub()
    for name, value in {
        "ENDPOINT": server.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(tmp_path / "hub-cache"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_TELEMETRY": True,
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(hf_api.api, "endpoint", server.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    yield server
    server.close()


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    """A kernel with the extension loaded and a picture `start` at hand."""
    running = Kernel()
    setup = "%load_ext nbdiffuse\nimport gc, hashlib, nbdiffuse\nstart = nbdiffuse.embedded.world.sample(3_000_003).image"
    assert running.run(setup).ok
    yield running
    running.close()


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What a cell shows while it runs, in order, with nothing shown for real."""
    from nbdiffuse.magics import live_display

    bundles: list[dict[str, Any]] = []

    class Handle:
        def update(self, bundle: dict[str, Any], raw: bool) -> None:
            bundles.append(bundle)

    def display(bundle: dict[str, Any], **how: Any) -> Handle:
        bundles.append(bundle)
        return Handle()

    monkeypatch.setattr(live_display, "display", display)
    return bundles


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder with three small pictures."""
    import numpy as np
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"p{number}.png")
    return folder
