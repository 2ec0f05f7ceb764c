"""Masks that a model selects are what transformers' own classes find, from a checked and resident model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_segmenters
import torch
from PIL import Image
from transformers import AutoImageProcessor, CLIPTokenizer, SamProcessor

from nbdiffuse import embedded
from nbdiffuse.embedded.world import sample
from nbdiffuse.errors import CheckpointError, ParameterError
from nbdiffuse.pipelines.pipelines import Pipelines
from nbdiffuse.pipelines.segmentation import segment


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return tiny_segmenters.save(tmp_path_factory.mktemp("segmenters"))


@pytest.fixture(scope="module")
def pipelines() -> Pipelines:
    return Pipelines("cpu")


def selected(pipelines: Pipelines, directory: Path, image: Image.Image, words: str | None, threshold: float = 0.5) -> Any:
    mask = segment(pipelines.model(str(directory)), directory, image, words, threshold)
    assert (mask.mode, mask.size) == ("L", image.size) and set(np.unique(np.asarray(mask))) <= {0, 255}
    return np.asarray(mask) == 255


def enlarged(seen: torch.Tensor, size: tuple[int, int]) -> Any:
    return torch.nn.functional.interpolate(seen[None, None].float(), size[::-1], mode="bilinear")[0, 0].numpy()


@pytest.mark.parametrize("size", [(128, 128), (200, 120)])
def test_words_select_what_clipseg_finds_likely(untrained: dict[str, Path], pipelines: Pipelines, size: tuple[int, int]) -> None:
    directory, picture = untrained["words"], sample(5).image.resize(size)
    model = pipelines.model(str(directory))
    pixels = AutoImageProcessor.from_pretrained(directory)(images=picture, return_tensors="pt").pixel_values
    ids = CLIPTokenizer.from_pretrained(directory)(["the sky"], return_tensors="pt").input_ids
    with torch.no_grad():
        likely = enlarged(model(input_ids=ids, pixel_values=pixels).logits.sigmoid().reshape(32, 32), size)
    threshold = float(np.median(likely))
    mask = selected(pipelines, directory, picture, "the sky", threshold)
    assert np.array_equal(mask, likely >= threshold) and 0.2 < mask.mean() < 0.8


def test_a_label_selects_its_class_by_any_of_its_names(untrained: dict[str, Path], pipelines: Pipelines) -> None:
    directory, picture = untrained["labels"], sample(6).image.resize((96, 160))
    model = pipelines.model(str(directory))
    pixels = AutoImageProcessor.from_pretrained(directory)(images=picture, return_tensors="pt").pixel_values
    with torch.no_grad():
        likely = model(pixel_values=pixels).logits.softmax(1)[0]
    for word, labels in (("sky", [1]), ("Individual", [2]), ("a person", [2]), ("wall", [0, 3])):
        seen = enlarged(likely[labels].sum(0), picture.size)
        assert np.array_equal(selected(pipelines, directory, picture, word, float(np.median(seen))), seen >= np.median(seen))


def test_sam_selects_what_the_middle_belongs_to(untrained: dict[str, Path], pipelines: Pipelines) -> None:
    directory, picture = untrained["sam"], sample(7).image.resize((120, 90))
    processor, model = SamProcessor.from_pretrained(directory), pipelines.model(str(directory))
    given = processor(images=picture, input_points=[[[[60.0, 45.0]]]], return_tensors="pt")
    with torch.no_grad():
        made = model(pixel_values=given.pixel_values, input_points=given.input_points.float())
    sizes = given.original_sizes, given.reshaped_input_sizes
    masks = processor.image_processor.post_process_masks(made.pred_masks, *sizes, binarize=False)[0][0]
    likely = masks[int(made.iou_scores[0, 0].argmax())].sigmoid().numpy()
    threshold = float(np.median(likely))
    # Logits of an untrained model are all but 0, and so are differences between probabilities.
    assert (selected(pipelines, directory, picture, None, threshold) != (likely >= threshold)).mean() < 0.01
    assert 0.2 < (likely >= threshold).mean() < 0.8


def test_what_cannot_select_is_one_line(untrained: dict[str, Path], pipelines: Pipelines) -> None:
    picture = sample(8).image
    for name, words, error, line in (
        ("labels", "dog", ParameterError, r"must name something that the segmenter knows, got 'dog'\. It knows wall, sky"),
        ("labels", "skyy", ParameterError, r"got 'skyy'\. Did you mean 'sky'\?$"),
        ("labels", None, ParameterError, r"got 'subject'\. It knows wall, sky, person, individual, someone, tall wall\.$"),
        ("sam", "sky", ParameterError, r"must be `auto:subject` for .*, which knows no words, got 'text:sky'"),
    ):
        with pytest.raises(error, match=line):
            segment(pipelines.model(str(untrained[name])), untrained[name], picture, words, 0.5)
    estimator = embedded.path("depth-estimator")
    with pytest.raises(CheckpointError, match="is a DepthAnythingForDepthEstimation, which selects no part of a picture"):
        segment(pipelines.model("depth-estimator"), estimator, picture, "sky", 0.5)
