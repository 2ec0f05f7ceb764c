"""The embedded family: each member that ships loads by its own call, offline, and visibly does its job."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

from nbdiffuse import embedded
from nbdiffuse.embedded.reports import edges, edits, family, figures, holes, masks, segments, styles, upscalers
from nbdiffuse.embedded.shared_weights import CHECKPOINTS
from nbdiffuse.embedded.world import STYLES, sample
from nbdiffuse.errors import CheckpointError

LARGEST = 98_000_000
"""Bytes that all weights may take together."""
CALLS = {
    **dict.fromkeys(("sd15", *STYLES, "sdxl-refiner", "sdxl", "kandinsky22"), "AutoPipelineForImage2Image"),
    "x2-upscaler": "StableDiffusionLatentUpscalePipeline",
    "x4-upscaler": "StableDiffusionUpscalePipeline",
    **dict.fromkeys(("controlnet-depth", "controlnet-canny"), "ControlNetModel"),
    "edit": "StableDiffusionInstructPix2PixPipeline",
    "inpaint": "StableDiffusionInpaintPipeline",
}
DRAWING = [name for name in CALLS if name not in ("controlnet-depth", "controlnet-canny", "edit", "inpaint")]


@pytest.mark.parametrize("name", CALLS)
def test_a_member_loads_by_its_own_call_in_float32(name: str) -> None:
    import diffusers

    loaded = getattr(diffusers, CALLS[name]).from_pretrained(embedded.path(name))
    parts = loaded.components.values() if hasattr(loaded, "components") else [loaded]
    for part in parts:
        if isinstance(part, torch.nn.Module):
            assert part.dtype == torch.float32
    assert len(embedded.identity(name)) == 64


def test_all_weights_together_are_small() -> None:
    files = [file for file in CHECKPOINTS.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= LARGEST
    weights = [file.read_bytes() for file in files if file.suffix == ".safetensors"]
    assert len(set(weights)) == len(weights), "the same weights ship twice"


def test_a_checkpoint_that_borrows_is_put_together_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBDIFFUSE_CACHE", str(tmp_path / "cache"))
    with ThreadPoolExecutor(8) as pool:
        (comic,) = set(pool.map(embedded.path, ["comic"] * 8))
    assert comic.name == "comic" and tmp_path in comic.parents
    assert sorted(entry.name for entry in comic.parent.iterdir()) == ["comic"], "temporary files are left"
    weights = "vae/diffusion_pytorch_model.safetensors"
    assert (comic / weights).read_bytes() == (embedded.path("sd15") / weights).read_bytes()
    assert {file.name for file in comic.iterdir()} == {file.name for file in embedded.path("sd15").iterdir()}


def test_a_checkpoint_that_was_changed_or_cannot_be_put_together_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBDIFFUSE_CACHE", str(tmp_path / "cache"))
    config = embedded.path("comic") / "unet" / "config.json"
    config.unlink()
    config.write_text("{}")
    with pytest.raises(CheckpointError, match=r"comic/unet/config.json .* differs .* Remove .*comic and run this again"):
        embedded.identity.__wrapped__("comic")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NBDIFFUSE_CACHE", str(tmp_path / "file"))
    with pytest.raises(CheckpointError, match=r"comic cannot be put together in .*Set NBDIFFUSE_CACHE"):
        embedded.path("comic")


@pytest.mark.parametrize("name", DRAWING)
def test_a_member_runs_by_its_preset(name: str, session: Any) -> None:
    from nbdiffuse import Recipe

    values: dict[str, Any] = {"strength": 0.5} if "upscaler" not in name else {}
    start = sample(3_000_003, 64) if name == "x4-upscaler" else sample(3_000_003)
    result = session.run(Recipe(prompt=start.caption, image=start.image, model=name, num_inference_steps=6, seed=1, **values))
    scale = {"x2-upscaler": 2, "x4-upscaler": 4}.get(name, 1)
    assert result.image.size == (start.size * scale, start.size * scale)
    # Blank or noise would be far from the picture that it began from.
    small = result.image.resize(start.image.size, Image.Resampling.BOX)
    assert figures.distance(small, start.image) < 90


@pytest.mark.parametrize("renders", [60, pytest.param(300, id="the report's own judge", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", STYLES)
def test_a_style_comes_when_its_trigger_calls(name: str, renders: int) -> None:
    drawn, *_, judge = styles.style_figures(name, 10, renders)
    assert drawn.value >= 80 and judge.value >= 90


def test_a_controlnet_keeps_the_layout() -> None:
    vae = AutoencoderKL.from_pretrained(embedded.path("sd15") / "vae").eval()
    kept, lost, *_ = family.controlnet_figures(10, masks.train(vae, steps=150, pool_size=600))
    # Judged by a network that was trained for seconds; the report's own judge is surer.
    assert kept.value >= 0.65 and lost.value < kept.value - 0.1


def test_a_controlnet_for_edges_keeps_them() -> None:
    kept, lost, place, unled, subject = (figure.value for figure in edges.edge_figures(8))
    assert kept >= 0.5 and lost <= 0.35
    assert place >= 60 > unled and subject >= 85


def test_the_f1_of_edges_pairs_pixels_one_to_one() -> None:
    line, beside, both = (Image.new("RGB", (128, 128)) for _ in range(3))
    line.paste("white", (40, 10, 41, 110))
    beside.paste("white", (41, 10, 42, 110))
    both.paste("white", (40, 10, 42, 110))
    assert edges.f1(line, line) == edges.f1(line, beside) == 1
    assert edges.f1(both, line) == edges.f1(line, both) == pytest.approx(2 / 3)
    assert edges.f1(Image.new("RGB", (128, 128)), line) == 0


def test_an_edit_changes_what_the_words_ask_for_and_keeps_the_rest() -> None:
    changed, *_, kept, _, _, _ = (figure.value for figure in edits.edit_figures(15))
    assert changed >= 60 and kept >= 75


def test_a_hole_is_filled_with_what_the_prompt_says(session: Any) -> None:
    from nbdiffuse import Recipe

    filled, *_, seam, put_back, _, feather, plain = holes.hole_figures(15)
    assert filled.value >= 80 and seam.value < 2.5 and put_back.value < 10
    assert feather.met and plain.met
    one = holes.sample_hole(3_000_003, "subject")
    made = session.run(Recipe(prompt=one.wanted.caption, model="inpaint", image=one.scene.image, mask_image=one.mask, seed=1))
    assert made.image.tobytes() == holes.pasted(made.image, one).tobytes() != one.scene.image.tobytes()


def test_the_segmenter_finds_what_words_say_and_nothing_else() -> None:
    named, subject, others, *_, nothing = (figure.value for figure in segments.segment_figures(16))
    assert named >= 0.75 and subject >= 0.75 and others >= 0.8 and nothing >= 75


def test_the_clip_finds_the_caption_of_a_picture() -> None:
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    directory = embedded.path("clip")
    model = CLIPModel.from_pretrained(directory).eval()
    scenes = [sample(2_000_000 + index) for index in range(20)]
    pixels = CLIPImageProcessor.from_pretrained(directory)(images=[scene.image for scene in scenes], return_tensors="pt")
    ids = CLIPTokenizer.from_pretrained(directory)(
        [scene.caption for scene in scenes], padding="max_length", max_length=77, return_tensors="pt"
    )
    with torch.no_grad():
        found = model(input_ids=ids.input_ids, **pixels).logits_per_image.argmax(1)
    assert (found == torch.arange(20)).float().mean() >= 0.8


@pytest.mark.parametrize(("name", "guidance"), [("kandinsky22", 4.0), ("sdxl", 5.0)])
def test_another_family_draws_what_its_prompt_says(name: str, guidance: float) -> None:
    subject, place, palette = (figure.value for figure in family.followed_figures(name, 20, guidance))
    assert subject >= 75 and place >= 80 and palette >= 75


@pytest.mark.parametrize("name", ["x2-upscaler", "x4-upscaler"])
def test_an_upscaler_is_nearer_to_the_true_picture_than_bicubic_and_sharper(name: str) -> None:
    psnr, ssim, sharpness, _ = upscalers.upscaler_figures(name, 10)
    assert sharpness.value > 1
    assert ssim.goal is not None and ssim.value > ssim.goal
    assert psnr.goal is not None and psnr.value > psnr.goal + (1 if name == "x4-upscaler" else 0)
