"""Kept encodings: the encoders run once, and the pixels are those of the plain call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nbdiffuse.engine.embedding_cache import EmbeddingCache
from nbdiffuse.pipelines.pipelines import Pipelines

PROMPT = "cat wizard, gandalf, lord of the rings, detailed, fantasy, cute"
SETTINGS: list[dict[str, Any]] = [
    {"guidance_scale": 7.5},
    {"guidance_scale": 3.0},
    {"guidance_scale": 1.0},
    {"guidance_scale": 0.0},
    {"strength": 0.5},
    {"strength": 1.0, "seed": 9},
    {"strength": 0.62, "seed": 2**40},
    {"negative_prompt": "ugly, deformed, disfigured, poor details, bad anatomy"},
    {"negative_prompt": "jungle", "guidance_scale": 1.0},
    {"negative_prompt": "jungle", "guidance_scale": 10.5, "seed": 3},
    {"negative_prompt": ""},
    {"num_images_per_prompt": 2},
    {"prompt": "a robot in the snow"},
    {"prompt": "jungle", "negative_prompt": PROMPT},
]


def call(pipeline: Any, image: Any, **settings: Any) -> bytes:
    """Run an image-to-image call and return its pixels."""
    values = {"prompt": PROMPT, "num_inference_steps": 4, **settings}
    generator = torch.Generator("cpu").manual_seed(values.pop("seed", 7))
    made = pipeline(image=image, generator=generator, output_type="np", **values).images
    return np.ascontiguousarray(made).tobytes()


@contextmanager
def counted(pipeline: Any) -> Iterator[dict[str, int]]:
    """Count the real forward passes of the two encoders."""
    counts = {"text": 0, "picture": 0}

    def count(name: str) -> Any:
        return lambda *_: counts.update({name: counts[name] + 1})

    hooks = [
        pipeline.text_encoder.register_forward_hook(count("text")),
        pipeline.vae.encoder.register_forward_hook(count("picture")),
    ]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return Pipelines("cpu").acquire("sd15", "StableDiffusionImg2ImgPipeline", "PNDM")


def test_pixels_equal_the_plain_call_when_everything_is_new_and_when_all_is_kept(
    pipeline: Any, raw: Callable[[str], Any], scene: Any
) -> None:
    encodings = EmbeddingCache()
    plain = raw("StableDiffusionImg2ImgPipeline")
    expected = [call(plain, scene.image, **settings) for settings in SETTINGS]
    for turn in ("new", "kept"):
        for settings, pixels in zip(SETTINGS, expected, strict=True):
            with encodings.reuse(pipeline, "a"):
                assert call(pipeline, scene.image, **settings) == pixels, (turn, settings)


def test_text_to_image_is_the_same_too(raw: Callable[[str], Any]) -> None:
    pipeline, encodings = Pipelines("cpu").acquire("sd15", "StableDiffusionPipeline", "PNDM"), EmbeddingCache()

    def run(one: Any) -> Any:
        generator = torch.Generator("cpu").manual_seed(5)
        return one(PROMPT, num_inference_steps=2, height=64, width=64, generator=generator, output_type="np").images.tobytes()

    expected = run(raw("StableDiffusionPipeline"))
    for _ in range(2):
        with encodings.reuse(pipeline, "a"):
            assert run(pipeline) == expected


def test_a_run_with_another_guidance_strength_or_seed_encodes_nothing(pipeline: Any, scene: Any) -> None:
    encodings = EmbeddingCache()
    with encodings.reuse(pipeline, "a"), counted(pipeline) as cold:
        call(pipeline, scene.image)
    assert cold == {"text": 2, "picture": 1}
    for settings in SETTINGS[:7]:
        with encodings.reuse(pipeline, "a"), counted(pipeline) as warm:
            call(pipeline, scene.image, **settings)
        assert warm == {"text": 0, "picture": 0}, settings


def test_only_what_changed_is_encoded_again(pipeline: Any, scene: Any) -> None:
    encodings = EmbeddingCache()
    other = scene.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    steps: list[tuple[dict[str, Any], Image.Image, dict[str, int]]] = [
        ({"guidance_scale": 1.0}, scene.image, {"text": 1, "picture": 1}),
        ({}, scene.image, {"text": 1, "picture": 0}),
        ({"negative_prompt": "jungle"}, scene.image, {"text": 1, "picture": 0}),
        ({}, other, {"text": 0, "picture": 1}),
        ({"prompt": "a robot"}, other, {"text": 1, "picture": 0}),
        ({"prompt": "jungle", "negative_prompt": "a robot"}, scene.image, {"text": 2, "picture": 0}),
        ({}, scene.image, {"text": 0, "picture": 0}),
    ]
    for settings, image, expected in steps:
        with encodings.reuse(pipeline, "a"), counted(pipeline) as counts:
            call(pipeline, image, **settings)
        assert counts == expected, settings


def test_one_changed_pixel_is_another_picture(pipeline: Any, raw: Callable[[str], Any], scene: Any) -> None:
    encodings = EmbeddingCache()
    touched = scene.image.copy()
    red, green, blue = touched.getpixel((64, 64))
    touched.putpixel((64, 64), (red ^ 1, green, blue))
    for image in (scene.image, touched):
        with encodings.reuse(pipeline, "a"), counted(pipeline) as counts:
            pixels = call(pipeline, image)
        assert counts["picture"] == 1
        assert pixels == call(raw("StableDiffusionImg2ImgPipeline"), image)


def test_another_scope_shares_nothing(pipeline: Any, scene: Any) -> None:
    encodings = EmbeddingCache()
    for scope in ("a", "b"):
        with encodings.reuse(pipeline, scope), counted(pipeline) as counts:
            call(pipeline, scene.image)
        assert counts == {"text": 2, "picture": 1}


def test_what_is_kept_stays_within_its_bound_and_the_oldest_goes(pipeline: Any) -> None:
    size = pipeline.text_encoder.config.hidden_size * pipeline.tokenizer.model_max_length * 4
    encodings = EmbeddingCache(limit=3 * size)

    def encode(prompt: str) -> int:
        with torch.no_grad(), encodings.reuse(pipeline, "a"), counted(pipeline) as counts:
            pipeline.encode_prompt(prompt, torch.device("cpu"), 1, False)
        return counts["text"]

    assert [encode(word) for word in ("one", "two", "three", "one", "four")] == [1, 1, 1, 0, 1]
    assert (len(encodings), encodings.size) == (3, 3 * size)
    assert [encode(word) for word in ("one", "three", "two")] == [0, 0, 1]
    for index in range(50):
        encode(f"a cat number {index}")
        assert encodings.size <= encodings.limit and encodings.size == len(encodings) * size
    encodings.clear()
    assert (len(encodings), encodings.size) == (0, 0)


def test_nothing_is_kept_when_the_bound_is_zero(pipeline: Any, raw: Callable[[str], Any], scene: Any) -> None:
    encodings = EmbeddingCache(limit=0)
    with encodings.reuse(pipeline, "a"):
        assert call(pipeline, scene.image) == call(raw("StableDiffusionImg2ImgPipeline"), scene.image)
    assert len(encodings) == 0


def test_a_caller_who_writes_into_an_embedding_does_not_reach_what_is_kept(pipeline: Any) -> None:
    encodings = EmbeddingCache()
    made = []
    for _ in range(3):
        with torch.no_grad(), encodings.reuse(pipeline, "a"):
            positive, negative = pipeline.encode_prompt(PROMPT, torch.device("cpu"), 1, True, "jungle")
        made.append((positive.clone(), negative.clone()))
        positive.zero_()
        negative.zero_()
    assert all(torch.equal(a, b) for later in made[1:] for a, b in zip(made[0], later, strict=True))


@pytest.mark.parametrize("part", ["text_encoder", "vae.encoder", "unet", "vae.decoder"])
def test_a_failure_anywhere_leaves_the_pipeline_as_it_was_and_keeps_nothing_wrong(
    pipeline: Any, scene: Any, part: str, raw: Callable[[str], Any]
) -> None:
    encodings = EmbeddingCache()
    module = pipeline
    for name in part.split("."):
        module = getattr(module, name)

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    hook = module.register_forward_pre_hook(fail)
    try:
        with pytest.raises(KeyboardInterrupt), encodings.reuse(pipeline, "a"):
            call(pipeline, scene.image)
    finally:
        hook.remove()
    assert "encode_prompt" not in vars(pipeline) and "encode" not in vars(pipeline.vae)
    with encodings.reuse(pipeline, "a"):
        assert call(pipeline, scene.image) == call(raw("StableDiffusionImg2ImgPipeline"), scene.image)


def test_values_that_are_no_numbers_are_not_kept(pipeline: Any, scene: Any) -> None:
    encodings = EmbeddingCache()
    hook = pipeline.vae.encoder.register_forward_hook(lambda module, inputs, output: torch.full_like(output, torch.nan))
    try:
        with encodings.reuse(pipeline, "a"):
            call(pipeline, scene.image, guidance_scale=1.0)
    finally:
        hook.remove()
    assert len(encodings) == 1


def test_the_random_numbers_are_drawn_in_the_same_order(pipeline: Any, scene: Any) -> None:
    encodings = EmbeddingCache()
    states = []
    for _ in range(2):
        generator = torch.Generator("cpu").manual_seed(3)
        with encodings.reuse(pipeline, "a"):
            pipeline(PROMPT, image=scene.image, num_inference_steps=2, generator=generator, output_type="latent")
        states.append(generator.get_state())
    assert torch.equal(*states)
