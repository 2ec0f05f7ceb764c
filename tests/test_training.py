"""Training: what a member begins from is what it is said to begin from."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    AutoPipelineForImage2Image,
    AutoPipelineForText2Image,
    LCMScheduler,
    StableDiffusionLatentUpscalePipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from nbdiffuse import embedded
from nbdiffuse.embedded import weight_deltas
from nbdiffuse.embedded.train import (
    decoder,
    edit,
    export,
    inpaint,
    kandinsky,
    lcm,
    movq,
    sdxl,
    segment,
    style_calibration,
    styles,
    widening,
    x2_calibration,
    x2_upscaler,
    x4_upscaler,
)
from nbdiffuse.embedded.train.latents import latent_pool
from nbdiffuse.embedded.train.renders import render_pool, to_unit
from nbdiffuse.embedded.world import sample


@pytest.fixture(scope="module")
def base() -> nn.ModuleDict:
    directory = embedded.path("sd15")
    parts: dict[str, Any] = {
        "text_encoder": CLIPTextModel.from_pretrained(directory / "text_encoder"),
        "unet": UNet2DConditionModel.from_pretrained(directory / "unet"),
    }
    return nn.ModuleDict(parts)


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(embedded.path("sd15") / "tokenizer")


def assert_holds(own: nn.Module, other: nn.Module) -> None:
    """Every weight of the other one is at the beginning of a weight of that name."""
    mine = own.state_dict()
    for name, value in other.state_dict().items():
        place = tuple(slice(0, side) for side in value.shape)
        torch.testing.assert_close(mine[name][place], value, msg=name)


@pytest.mark.parametrize("refiner", [True, False])
def test_sdxl_begins_from_the_base_in_every_part(base: nn.ModuleDict, tokenizer: CLIPTokenizer, refiner: bool) -> None:
    modules: Any = sdxl.begin(base, tokenizer, refiner)
    assert_holds(modules["unet"], base["unet"])
    assert_holds(modules["text_encoder_2"].text_model, base["text_encoder"])
    assert ("text_encoder" in modules) is not refiner


def test_a_segmenter_is_taught_the_part_that_each_pixel_belongs_to(tmp_path: Path) -> None:
    vae: Any = AutoencoderKL.from_pretrained(embedded.path("sd15") / "vae").eval()
    pool = segment.kept_pool(vae, range(8), tmp_path / "pool.pt")
    assert torch.equal(segment.kept_pool(vae, range(0), tmp_path / "pool.pt").labels, pool.labels)
    classes = list(segment.CLASSES)
    for seed, labels in enumerate(pool.labels.numpy()):
        scene = sample(seed, segment.GRID)
        for part in ("subject", "sky", "ground", "background"):
            numbers = [classes.index(name) for name, words in segment.CLASSES.items() if part in words]
            apart = np.isin(labels, numbers) != (np.asarray(scene.mask_of(part)) > 127)
            assert apart.mean() < 0.01, (seed, part)
        assert (labels == classes.index(scene.subject)).any()
    assert set(segment.CLASSES["cat wizard"]) == {"cat wizard", "cat", "subject"}
    made = segment.train(pool, tmp_path / "state.pt", steps=3).state_dict()
    assert all(torch.isfinite(value).all() for value in made.values())
    # Also what its normalisation has seen is kept, which is no parameter.
    assert made["decode_head.batch_norm.running_mean"].abs().sum() > 0


def test_a_change_begins_as_none_and_ships_as_it_was_taught(base: nn.ModuleDict, tmp_path: Path) -> None:
    """What is merged from the files is what was trained, in less than half of the bytes."""
    unet: Any = base["unet"]
    change = styles.Difference(unet)
    for name, weight in change.added_to(unet).items():
        torch.testing.assert_close(weight, unet.state_dict()[name], atol=0, rtol=0)
    with torch.no_grad():
        for parameter in change.parameters():
            parameter += 0.02 * torch.randn(parameter.shape)
    whole = unet.state_dict()
    assert sum(value.numel() for value in change.tensors().values()) < 0.5 * sum(value.numel() for value in whole.values())
    shipped, given = tmp_path / "unet" / weight_deltas.WEIGHTS, tmp_path / "base.safetensors"
    shipped.parent.mkdir()
    for file in (shipped, given):
        save_file({name: value.half().contiguous() for name, value in whole.items()}, file)
    export.export_change(change.tensors(), tmp_path, "unet")
    assert not shipped.exists()
    weight_deltas.merge(given, tmp_path / "unet" / weight_deltas.NAME, tmp_path / "made.safetensors")
    made, taught = load_file(tmp_path / "made.safetensors"), change.added_to(unet)
    for name, value in made.items():
        torch.testing.assert_close(value.float(), taught[name], atol=5e-3, rtol=5e-3)


def test_a_component_with_few_changes_ships_as_these_to_the_byte(tmp_path: Path) -> None:
    """What is merged has every byte of what was written whole, and a borrower's weights are compared with it."""
    whole = {f"weight_{number}": torch.randn(300, 40).half() for number in range(4)}
    rescaled = {**whole, "weight_2": (whole["weight_2"] * 1.3984).half()}
    for name, weights in {"sd15": whole, "sdxl": rescaled, "sdxl-refiner": rescaled}.items():
        (tmp_path / name / "vae").mkdir(parents=True)
        save_file(weights, tmp_path / name / "vae" / weight_deltas.WEIGHTS)
    written = (tmp_path / "sdxl/vae" / weight_deltas.WEIGHTS).read_bytes()
    export.export_few_changes(tmp_path, "sdxl", "vae")
    (file,) = (tmp_path / "sdxl" / "vae").iterdir()
    assert file.stat().st_size < 0.7 * len(written)
    weight_deltas.merge(tmp_path / "sd15/vae" / weight_deltas.WEIGHTS, file, tmp_path / "made")
    assert (tmp_path / "made").read_bytes() == written
    export.leave_borrowed_out(tmp_path, "sdxl-refiner")
    assert not (tmp_path / "sdxl-refiner" / "vae").exists()


def test_a_widened_unet_begins_as_its_base_and_ships_as_it_was_taught(base: nn.ModuleDict, tmp_path: Path) -> None:
    """At first it hears nothing of what is beside the noisy latents; the merged file is a whole UNet with more channels."""
    unet: Any = base["unet"]
    change = widening.Widened(unet, 4, scale=0.2, rank=4)
    taught = widening.Taught(unet, change)
    noisy, beside, text = torch.randn(2, 4, 16, 16), torch.randn(2, 4, 16, 16), torch.randn(2, 77, 96)
    timesteps = torch.tensor([10, 900])
    with torch.no_grad():
        same = taught(torch.cat([noisy, beside], dim=1), timesteps, text)
        torch.testing.assert_close(same, unet(noisy, timesteps, text).sample, atol=1e-4, rtol=1e-4)
        for parameter in change.parameters():
            parameter += 0.01 * torch.randn(parameter.shape)
        wanted = taught(torch.cat([noisy, beside], dim=1), timesteps, text)
    assert [name for name in taught.state_dict() if not name.startswith("change.")] == [], "the base is kept with every state"
    given, folder = tmp_path / "base.safetensors", tmp_path / "unet"
    save_file({name: value.half().contiguous() for name, value in unet.state_dict().items()}, given)
    widening.widened_unet(unet, 4).save_pretrained(folder)
    export.export_change(change.tensors(), tmp_path, "unet")
    weight_deltas.merge(given, folder / weight_deltas.NAME, folder / weight_deltas.WEIGHTS)
    loaded = UNet2DConditionModel.from_pretrained(folder)
    assert loaded.config["in_channels"] == 8
    with torch.no_grad():
        made = loaded(torch.cat([noisy, beside], dim=1), timesteps, text).sample
    torch.testing.assert_close(made, wanted, atol=0.05, rtol=0.05)


def test_edits_are_taught_with_pairs_that_differ_in_one_thing(
    base: nn.ModuleDict, tokenizer: CLIPTokenizer, tmp_path: Path
) -> None:
    """A pool that was kept is the same again; a step of the training hears what is beside the noise."""
    vae: Any = AutoencoderKL.from_pretrained(embedded.path("sd15") / "vae").eval()
    pool = edit.kept_pool(vae, range(2), tmp_path / "pool.pt")
    again = edit.kept_pool(vae, range(0), tmp_path / "pool.pt")
    assert again.scenes == pool.scenes and torch.equal(again.latents, pool.latents)
    for index in (0, 1):
        pictures = pool.latents[index].float()
        assert (pictures[0, 0, 0] - pictures[1, 0, 0]).abs().mean() < (pictures[0, 0, 0] - pictures[1, 1, 1]).abs().mean()
    taught = edit.train(base, pool, vae, tokenizer, tmp_path / "edit.pt", steps=1)
    assert all(torch.isfinite(value).all() for value in taught.state_dict().values())
    assert not torch.equal(taught.state_dict()["unet.change.wide"], torch.zeros(64, 4, 3, 3))
    assert edit.pipeline(vae, taught, tokenizer).unet.config.in_channels == 8


def test_holes_are_taught_with_every_picture_that_can_be_in_them(
    base: nn.ModuleDict, tokenizer: CLIPTokenizer, tmp_path: Path
) -> None:
    """What is left of a picture is the same whichever of them is in the hole, and the base's text encoder stays."""
    vae: Any = AutoencoderKL.from_pretrained(embedded.path("sd15") / "vae").eval()
    pool = edit.edit_pool(vae, range(2))
    holes = inpaint.kept_holes(vae, pool, tmp_path / "holes.pt")
    assert holes.masks.shape == (6, 1, 16, 16) and holes.left.shape == (6, 4, 16, 16)
    assert [len(filling) for filling in holes.fillings] == [2, 1, 2] * 2
    for index, (mask, fillings) in enumerate(zip(holes.masks, holes.fillings, strict=True)):
        one, other = (pool.latents[tuple(filling)].float() for filling in (fillings[0], fillings[-1]))
        outside = (one - other).abs() * (1 - mask)
        assert outside.mean() < 0.15 * max(0.1, float(((one - other).abs() * mask).sum() / mask.sum())), index
    corner = torch.zeros(1, 1, 5, 5)
    corner[..., :2, :2] = 1
    around = torch.tensor([[0, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0] * 5, [0] * 5]).float()
    assert torch.equal(inpaint.border_of(corner)[0, 0], around)
    before = {name: value.clone() for name, value in base["text_encoder"].state_dict().items()}
    made = inpaint.train(base, pool, holes, tokenizer, tmp_path / "inpaint.pt", steps=1)
    assert all(torch.isfinite(value).all() for value in made.state_dict().values())
    assert all(torch.equal(value, before[name]) for name, value in base["text_encoder"].state_dict().items())
    assert inpaint.pipeline(vae, base["text_encoder"], tokenizer, made).unet.config.in_channels == 9


def test_a_lora_of_few_steps_is_taught_on_the_teachers_way_and_loads_by_diffusers_own_call(
    base: nn.ModuleDict, tokenizer: CLIPTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A way goes through every level to a picture; what is exported gives the weights that were taught."""
    monkeypatch.setattr(lcm, "BETWEEN", 1)
    monkeypatch.setattr(lcm, "BATCH", 4)
    gone = lcm.kept_ways(base, tokenizer, range(2), tmp_path)
    assert gone.latents.shape == (2, len(lcm.LEVELS) + 1, 4, 16, 16) and torch.isfinite(gone.latents.float()).all()
    assert 0.5 < gone.latents[:, -1].float().std() < 1.6, "a picture has the deviation of pictures"
    vae: Any = AutoencoderKL.from_pretrained(embedded.path("sd15") / "vae").eval()
    adapter = lcm.train(base, gone, edit.edit_pool(vae, range(1)), tokenizer, tmp_path / "lcm.pt", steps=2)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter += 0.01 * torch.randn(parameter.shape)
    lcm.export(adapter, tmp_path / "lora")
    pipeline: Any = AutoPipelineForText2Image.from_pretrained(embedded.path("sd15"))
    pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
    pipeline.load_lora_weights(tmp_path / "lora")
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    taught, fused = adapter.added_to(base["unet"]), pipeline.unet.state_dict()
    assert len(adapter.products) > 100
    for name, weight in taught.items():
        torch.testing.assert_close(fused[name], weight, atol=2e-3, rtol=2e-3)
    pipeline.scheduler.set_timesteps(8, original_inference_steps=50)
    assert set(pipeline.scheduler.timesteps.tolist()) == set(lcm.LEVELS)


def test_a_style_is_calibrated_on_its_own_pictures_drawn_again(
    base: nn.ModuleDict, tokenizer: CLIPTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the renders stand pictures of the checkpoint's, and the same in blocks of one colour; a step changes the style."""
    monkeypatch.setattr(style_calibration, "OWN", 3)
    monkeypatch.setattr(style_calibration, "TOGETHER", 2)
    vae: Any = AutoencoderKL.from_pretrained(embedded.path("sd15") / "vae").eval()
    renders = [latent_pool(vae, range(6), style=style, flawed=0.0) for style in ("pixel-art", None)]
    taught = nn.ModuleDict({"text_encoder": copy.deepcopy(base["text_encoder"]), "unet": styles.Difference(base["unet"])})
    styled, plain = style_calibration.mixed(base, taught, *renders, vae, tokenizer)
    assert [scene.seed for scene in styled.scenes] == [3, 4, 5, 0, 1, 2] and len(plain.mean) == 6
    with torch.no_grad():
        drawn, blocks = (vae.decode(pool.mean[3:] / vae.config["scaling_factor"]).sample for pool in (plain, styled))
        flat = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(drawn, 8), scale_factor=8)
    assert (blocks - flat).abs().mean() < (drawn - flat).abs().mean()
    before = {name: value.clone() for name, value in taught.state_dict().items()}
    state = tmp_path / "calibration.pt"
    made = style_calibration.calibrate(base, taught, styled, plain, tokenizer, state, steps=1)
    assert state.exists() and any(not torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert all(torch.isfinite(value).all() for value in made.state_dict().values())


def test_the_x2_denoiser_is_taught_what_its_pipeline_makes_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline: Any = StableDiffusionLatentUpscalePipeline.from_pretrained(embedded.path("x2-upscaler"))
    pipeline.set_progress_bar_config(disable=True)
    steps: list[tuple[torch.Tensor, torch.Tensor]] = []
    step = pipeline.scheduler.step

    def look(found: torch.Tensor, timestep: Any, sample: torch.Tensor, **more: Any) -> Any:
        steps.append((found, sample))
        return step(found, timestep, sample, **more)

    monkeypatch.setattr(pipeline.scheduler, "step", look)
    low, generator = torch.randn(1, 4, 16, 16), torch.Generator().manual_seed(1)
    pipeline("a cat", image=low, num_inference_steps=4, guidance_scale=1.0, generator=generator, output_type="latent")
    words = x2_upscaler.words_of(pipeline.text_encoder, pipeline.tokenizer, ["a cat"])
    with torch.no_grad():
        enlarged = torch.nn.functional.interpolate(low, scale_factor=2)
        for sigma, (found, sample) in zip(pipeline.scheduler.sigmas, steps, strict=False):
            mine = x2_upscaler.denoised(pipeline.unet, sample, enlarged, sigma.reshape(1, 1, 1, 1), words)
            torch.testing.assert_close(mine, found, atol=1e-3, rtol=1e-3)
    assert len(steps) == 4


def test_calibration_changes_the_x2_denoiser_and_keeps_its_state(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    vae: Any = AutoencoderKL.from_pretrained(embedded.path("sd15") / "vae").eval()
    text_encoder = CLIPTextModel.from_pretrained(embedded.path("sd15") / "text_encoder")
    small, large = latent_pool(vae, range(4), flawed=0.0), latent_pool(vae, range(4), flawed=0.0, size=256)
    unet = x2_upscaler.new_unet()
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    pixels, state = render_pool(range(4), 256), tmp_path / "x2-calibration.pt"
    made = x2_calibration.calibrate(unet, small, large, pixels, vae, text_encoder, tokenizer, state, steps=1)
    assert state.exists() and any(not torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert all(torch.isfinite(value).all() for value in made.state_dict().values())


def test_the_decoder_learns_from_what_the_family_draws_and_latents_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is redrawn is near its render, and nearest where the strength is least; the encoder is not touched."""
    monkeypatch.setattr(decoder, "TOGETHER", 2)
    pipeline: Any = AutoPipelineForImage2Image.from_pretrained(embedded.path("sd15"))
    small = decoder.redrawn(pipeline, range(10))
    away = (small.drawn - small.encoded).abs().mean((1, 2, 3))
    assert small.pixels.shape == (10, 3, 128, 128) and 0 < away[:2].mean() < away[8:].mean()
    large = decoder.enlarged(StableDiffusionLatentUpscalePipeline.from_pretrained(embedded.path("x2-upscaler")), range(2))
    assert large.pixels.shape == (2, 3, 256, 256) and large.drawn.shape == (2, 4, 32, 32)
    vae = AutoencoderKL.from_pretrained(embedded.path("sd15") / "vae")
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    made = decoder.finish(vae, [small, large], tmp_path / "decoder.pt", steps=2)
    moved = {name.partition(".")[0] for name, value in made.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"decoder"} and all(torch.isfinite(value).all() for value in made.state_dict().values())
    again = decoder.finish(AutoencoderKL.from_pretrained(embedded.path("sd15") / "vae"), [], tmp_path / "decoder.pt", steps=2)
    assert all(torch.equal(value, made.state_dict()[name]) for name, value in again.state_dict().items())


def test_the_critic_is_taught_by_its_own_mistakes_alone() -> None:
    """The decoder's wish to be taken for a renderer must not teach the critic to be deceived."""
    critic, drawn = decoder.Critic(), torch.randn(2, 3, 64, 64, requires_grad=True)
    wish, lesson = decoder.told(critic, drawn, torch.randn(2, 3, 64, 64))
    wish.backward()
    assert drawn.grad is not None and all(parameter.grad is None for parameter in critic.parameters())
    drawn.grad = None
    lesson.backward()
    assert drawn.grad is None and all(parameter.grad is not None for parameter in critic.parameters())


@pytest.mark.parametrize("upscaler", [x2_upscaler, x4_upscaler], ids=["x2", "x4"])
def test_a_new_upscaler_is_deaf(upscaler: Any) -> None:
    """Whatever the words, its first predictions are the same, so that guidance magnifies no chance."""
    unet = upscaler.new_unet()
    x2_upscaler.begin_deaf(unet)
    given: dict[str, Any] = {} if unet.config.num_class_embeds is None else {"class_labels": torch.tensor([20])}
    if unet.config.time_cond_proj_dim:
        given["timestep_cond"] = torch.randn(1, unet.config.time_cond_proj_dim)
    sample = torch.randn(1, unet.config.in_channels, 32, 32)
    with torch.no_grad():
        one, other = (unet(sample, 10, torch.randn(1, 77, 96), **given).sample for _ in range(2))
    torch.testing.assert_close(one, other, atol=0, rtol=0)


def test_a_new_x4_denoiser_hands_the_small_picture_through() -> None:
    """Before any training its first three channels are the colours that it was given, whatever the noise and the words."""
    unet = x4_upscaler.new_unet()
    x4_upscaler.begin_handing_through(unet)
    low = torch.nn.functional.avg_pool2d(to_unit(render_pool(range(2), 256)), 4)
    for timestep in (10, 900):
        given = torch.cat([torch.randn(2, 4, 64, 64), low], dim=1), timestep, torch.randn(2, 77, 96)
        with torch.no_grad():
            made = unet(*given, class_labels=torch.tensor([20, 20])).sample[:, :3]
        torch.testing.assert_close(made, x4_upscaler.COLOURS * low, atol=0.1, rtol=0)


def test_the_movq_begins_with_the_encoder_of_the_vae() -> None:
    vae: Any = AutoencoderKL.from_pretrained(embedded.path("sd15") / "vae").eval()
    made: Any = movq.new_movq().eval()
    movq.begin_with(made, vae)
    pixels = to_unit(render_pool(range(2)))
    with torch.no_grad():
        expected = vae.encode(pixels).latent_dist.mean * vae.config.scaling_factor
        torch.testing.assert_close(made.encode(pixels).latents, expected, atol=1e-4, rtol=1e-4)


def test_the_decoder_of_kandinsky_begins_with_the_convolutions_of_the_base(base: nn.ModuleDict) -> None:
    made = kandinsky.new_unet()
    kandinsky.begin_with(made, base["unet"])
    own, given = made.state_dict(), base["unet"].state_dict()
    shared = [name for name in own.keys() & given.keys() if name.endswith("conv1.weight")]
    assert len(shared) > 8
    for name in shared:
        torch.testing.assert_close(own[name], given[name])
