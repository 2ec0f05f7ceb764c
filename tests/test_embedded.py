"""The embedded checkpoint: complete, whole, loaded by diffusers' own calls, and able to draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from nbdiffuse import embedded
from nbdiffuse.embedded import recogniser
from nbdiffuse.embedded.reports import figures as report
from nbdiffuse.embedded.world import sample
from nbdiffuse.errors import CheckpointError

COUNT = 20


@pytest.fixture(scope="module")
def pipelines() -> Any:
    from diffusers import AutoPipelineForImage2Image, AutoPipelineForText2Image

    text_to_image = AutoPipelineForText2Image.from_pretrained(embedded.path("sd15"))
    image_to_image = AutoPipelineForImage2Image.from_pretrained(embedded.path("sd15"))
    for pipeline in (text_to_image, image_to_image):
        pipeline.set_progress_bar_config(disable=True)
    return text_to_image, image_to_image


@pytest.fixture(scope="module")
def judge() -> recogniser.Recogniser:
    return recogniser.load()


def test_plain_loading_gives_the_real_classes_in_float32(pipelines: Any) -> None:
    names = [type(pipeline).__name__ for pipeline in pipelines]
    assert names == ["StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"]
    for name in ("unet", "vae", "text_encoder"):
        assert getattr(pipelines[0], name).dtype == torch.float32


def test_every_file_is_the_one_that_was_shipped() -> None:
    assert len(embedded.identity("sd15")) == 64


def test_the_checkpoint_is_small() -> None:
    assert sum(file.stat().st_size for file in Path(embedded.path("sd15")).rglob("*") if file.is_file()) <= 16_000_000


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(CheckpointError, match="Did you mean 'sd15'"):
        embedded.path("sd-15")


def test_any_prompt_tokenizes(pipelines: Any) -> None:
    tokenizer = pipelines[0].tokenizer
    for text in ("", "ünïcode 漢字 🙂", "a" * 500, "\n\t", "Astronaut in a jungle"):
        ids = tokenizer(text, padding="max_length", truncation=True, max_length=77).input_ids
        assert len(ids) == 77
    assert tokenizer("zebra").input_ids.count(tokenizer.unk_token_id) == 1, "only the end token"


def test_pictures_show_what_the_prompt_says_at_the_guides_guidance(pipelines: Any, judge: recogniser.Recogniser) -> None:
    scenes = [sample(report.UNSEEN + index) for index in range(COUNT)]
    drawn = report.text_to_image(pipelines[0], report.prompts(scenes), 7.5)
    followed = report.accuracy(judge, drawn, scenes)
    ignored = report.accuracy(judge, report.text_to_image(pipelines[0], report.prompts(scenes), 1.0), scenes)
    assert followed["subject"] >= 75 and followed["place"] >= 80 and followed["palette"] >= 70
    assert sum(followed.values()) > sum(ignored.values()) + 30
    assert report.sharpness_against(drawn, [scene.image for scene in scenes]) > 0.8, "a drawing is nearly as sharp as a render"


def test_low_strength_keeps_the_picture_and_distance_grows(pipelines: Any, judge: recogniser.Recogniser) -> None:
    scenes = [sample(report.UNSEEN + 10_000 + index) for index in range(10)]
    initial = [scene.image for scene in scenes]
    texts = report.prompts([sample(report.UNSEEN + 20_000 + index) for index in range(10)])
    series = [report.image_to_image(pipelines[1], texts, initial, strength) for strength in (0.1, 0.4, 0.8)]
    kept = report.accuracy(judge, series[0], scenes)
    assert kept["subject"] >= 70 and kept["place"] >= 70
    for index in range(10):
        distances = [report.distance(images[index], initial[index]) for images in series]
        assert distances == sorted(distances)
