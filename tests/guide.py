"""Tiny twins of the guide's repositories: their ids, their files' names and their classes, with random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import tiny
import torch
from safetensors.torch import load_file

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
REFINER = "stabilityai/stable-diffusion-xl-refiner-1.0"
DECODER = "kandinsky-community/kandinsky-2-2-decoder"
PRIOR = "kandinsky-community/kandinsky-2-2-prior"
COMIC, PIXEL, ELDEN = "ogkalu/Comic-Diffusion", "kohbanye/pixel-art-style", "nitrosocke/elden-ring-diffusion"
X2, X4 = "stabilityai/sd-x2-latent-upscaler", "stabilityai/stable-diffusion-x4-upscaler"
CONTROLNET = "lllyasviel/control_v11f1p_sd15_depth"
IDS = (SD15, REFINER, DECODER, PRIOR, COMIC, PIXEL, ELDEN, X2, X4, CONTROLNET)
FILLER = b"\0" * 99
"""In place of files that nobody may fetch."""


def sd15(seed: int) -> Any:
    """Return a tiny pipeline of the class and the components of Stable Diffusion v1.5."""
    from diffusers import PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    torch.manual_seed(seed)
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**small, "image_size": 224, "patch_size": 32}
    return StableDiffusionPipeline(
        vae=tiny.vae(),
        text_encoder=tiny.text_encoder(),
        tokenizer=tiny.tokenizer(),
        unet=UNet2DConditionModel(
            sample_size=16,
            layers_per_block=1,
            block_out_channels=(16, 32),
            norm_num_groups=8,
            cross_attention_dim=32,
            attention_head_dim=2,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        ),
        scheduler=PNDMScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, skip_prk_steps=True, steps_offset=1
        ),
        safety_checker=StableDiffusionSafetyChecker(CLIPConfig(text_config=small, vision_config=vision, projection_dim=32)),
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 224}),
    )


def _save(pipeline: Any, directory: Path, half: bool) -> None:
    """Save in float32, and in half precision beside it where the original has both."""
    pipeline.save_pretrained(directory)
    if half:
        halves = directory.with_name(f"{directory.name}-halves")
        pipeline.to(dtype=torch.float16).save_pretrained(halves, variant="fp16")
        for file in halves.rglob("*.fp16.*"):
            file.rename(directory / file.relative_to(halves))
        shutil.rmtree(halves)
    index = directory / "model_index.json"
    if index.exists():
        # Every installation knows this name; the other one is what a machine without torchvision writes.
        index.write_text(index.read_text().replace("ProcessorPil", "Processor"))


def _old_tokenizer(directory: Path) -> None:
    """Keep a tokenizer as it was saved in 2022: a vocabulary and merges."""
    model = json.loads((directory / "tokenizer.json").read_text())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (directory / "vocab.json").write_text(json.dumps(model["vocab"]))
    (directory / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    (directory / "tokenizer.json").unlink()


def _fill(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).write_bytes(FILLER)


def to_bin(directory: Path) -> None:
    """Turn a checkpoint's weights into pickles."""
    for file in directory.rglob("*.safetensors"):
        stem = "pytorch_model" if file.stem == "model" else file.stem
        torch.save(load_file(file), file.with_name(f"{stem}.bin"))
        file.unlink()


def _write_sd15(directory: Path) -> None:
    _save(sd15(0), directory, half=True)
    _old_tokenizer(directory / "tokenizer")
    _fill(directory, "v1-5-pruned.ckpt", "v1-5-pruned-emaonly.safetensors", "unet/diffusion_pytorch_model.bin")
    _fill(directory, "unet/diffusion_pytorch_model.non_ema.safetensors", "text_encoder/pytorch_model.fp16.bin")


def _write_style(directory: Path, seed: int, ckpt: str) -> None:
    _save(sd15(seed), directory, half=False)
    _old_tokenizer(directory / "tokenizer")
    to_bin(directory)
    _fill(directory, ckpt)


def _write_kandinsky(decoder: Path, prior: Path) -> None:
    whole = tiny.MAKERS["kandinsky22"]()
    _save(whole.decoder_pipe, decoder, half=False)
    _save(whole.prior_pipe, prior, half=False)
    (decoder / "README.md").write_text(f"---\nlicense: apache-2.0\nprior:\n- {PRIOR}\ntags:\n- kandinsky\n---\n# Kandinsky 2.2\n")


def write(directory: Path) -> dict[str, Path]:
    """Write every repository under a directory; return where, by id."""
    from diffusers import ControlNetModel

    places = {name: directory / name for name in IDS}
    for place in places.values():
        place.mkdir(parents=True)
    _write_sd15(places[SD15])
    for seed, (name, ckpt) in enumerate(
        {COMIC: "comic-diffusion-V2.ckpt", PIXEL: "pixel-art-style.ckpt", ELDEN: "eldenRing-v3-pruned.ckpt"}.items(), 1
    ):
        _write_style(places[name], seed, ckpt)
    torch.manual_seed(0)
    _write_kandinsky(places[DECODER], places[PRIOR])
    for name, maker, half in ((REFINER, "sdxl-refiner", True), (X2, "x2-upscaler", False), (X4, "x4-upscaler", True)):
        _save(tiny.MAKERS[maker](), places[name], half)
    net = ControlNetModel.from_unet(sd15(0).unet, conditioning_embedding_out_channels=(8, 16, 24, 32))
    _save(net, places[CONTROLNET], half=True)
    shutil.copy(places[CONTROLNET] / "diffusion_pytorch_model.safetensors", places[CONTROLNET] / "other.safetensors")
    _fill(places[CONTROLNET], "diffusion_pytorch_model.bin")
    return places
