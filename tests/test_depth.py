"""Depth maps are those of transformers' own pipeline, from a checked and resident estimator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from nbdiffuse.embedded.train import depth as training
from nbdiffuse.embedded.world import sample
from nbdiffuse.errors import CheckpointError
from nbdiffuse.pipelines.depth import estimate
from nbdiffuse.pipelines.pipelines import Pipelines


@pytest.fixture(scope="module")
def estimator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained estimator of the embedded one's classes."""
    directory = tmp_path_factory.mktemp("estimator")
    torch.manual_seed(1)
    training.new_estimator().save_pretrained(directory)
    training.new_processor().save_pretrained(directory)
    return directory


@pytest.mark.parametrize("size", [(128, 128), (200, 120)])
def test_the_map_is_that_of_transformers_own_pipeline(estimator: Path, size: tuple[int, int]) -> None:
    picture = sample(5).image.resize(size)
    pipelines = Pipelines("cpu")
    made = estimate(pipelines.model(str(estimator)), pipelines.directory(str(estimator)), picture)
    assert (made.mode, made.size) == ("L", size)
    raw = transformers.pipeline("depth-estimation", model=str(estimator), device="cpu")(picture)["predicted_depth"]
    raw = torch.nn.functional.interpolate(raw.reshape(1, 1, *raw.shape[-2:]), made.size[::-1], mode="bicubic")[0, 0].numpy()
    assert np.corrcoef(np.asarray(made).ravel(), raw.ravel())[0, 1] > 0.999
    assert np.asarray(made).min() == 0 and np.asarray(made).max() == 255


def test_a_picture_without_depth_is_mid_grey(estimator: Path) -> None:
    pipelines = Pipelines("cpu")
    model = pipelines.model(str(estimator))
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.zero_()
    flat = estimate(model, estimator, Image.new("RGB", (64, 64)))
    assert flat.getextrema() == (128, 128)


def test_a_damaged_estimator_is_named_before_it_is_used(estimator: Path, tmp_path: Path) -> None:
    for file in estimator.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        Pipelines("cpu").model(str(tmp_path))
