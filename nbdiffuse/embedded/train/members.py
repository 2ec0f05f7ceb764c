"""The members of the embedded family: how each is trained from the ones before it, and written as it ships."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoPipelineForImage2Image, ControlNetModel, StableDiffusionLatentUpscalePipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPVisionModelWithProjection

from .. import image_encoder, path, recogniser
from ..shared_weights import CHECKPOINTS
from ..world import STYLES, sample
from . import (
    base,
    calibration,
    clip,
    controlnet,
    decoder,
    depth,
    edges,
    edit,
    export,
    inpaint,
    ip_adapter,
    judge,
    kandinsky,
    lcm,
    movq,
    sdxl,
    segment,
    style_calibration,
    styles,
    vae,
    x2_calibration,
    x2_upscaler,
    x4_upscaler,
)
from .latents import LatentPool, latent_pool
from .renders import render_pool, to_unit
from .training import POOL, Training

CALIBRATION_STEPS = 3000
DECODER_STEPS = 2200
X2_CALIBRATION_STEPS = 4000
X2_AGAIN_STEPS = 600
X4_VAE_STEPS = 3400
MOVQ_STEPS = 700
PRIOR_STEPS = 1000
STYLED = 5_000
"""Scenes in a style, beside a smaller part of plain ones."""
STYLE_CALIBRATION_STEPS = {"pixel-art": 4500}
"""For a style that is all in the details."""
EDITED = 2_200
"""Scenes that the edits are taught with, twelve pictures of each."""
SEGMENTED = 1_800
"""Scenes whose parts the segmenter is shown."""
LOOKED_AT = 3_600
"""Pictures whose palettes the IP-Adapter is shown."""
WAYS = 600
"""Ways of the teacher from noise to a picture, for the LoRA of few steps."""
REDRAWN = {"sd15": 1600, "comic": 320, "pixel-art": 400, "elden-ring": 200}
"""Scenes that each member redraws for the decoder."""
ENLARGED = 240
"""Scenes that the x2 upscaler draws for it."""
UNSEEN = 1_000_000
"""First seed of the scenes that no training sees."""


def _vae(training: Training) -> None:
    model = vae.train(training.file("vae"), training.steps, training.seed)
    model = vae.train_decoder(model, training.file("vae-decoder"), DECODER_STEPS, training.seed)
    unseen = to_unit(render_pool(range(UNSEEN, UNSEEN + 64)))
    logging.info("PSNR on unseen renders: %.2f dB", vae.psnr(model, unseen))
    model.save_pretrained(training.state / "vae")


def _recogniser(training: Training) -> None:
    recogniser.save(judge.train(training.vae(), training.file("recogniser"), training.steps, training.seed))
    export.write_manifest(CHECKPOINTS)


def _sd15(training: Training) -> None:
    tokenizer, pool = training.tokenizer(), training.pool()
    trained = base.train(pool, tokenizer, training.file("sd15"), training.steps, training.seed)
    state = training.file("sd15-calibration")
    calibrated = calibration.calibrate(trained, pool, tokenizer, state, CALIBRATION_STEPS, training.seed)
    training.keep("sd15", calibrated)
    training.ship("sd15", export.base_pipeline(training.vae(), calibrated, tokenizer))


def _style(name: str) -> Callable[[Training], None]:
    def member(training: Training) -> None:
        tokenizer, seed, base = training.tokenizer(), training.seed, training.base()
        styled = latent_pool(training.vae(), range(seed, seed + STYLED), style=name)
        plain = latent_pool(training.vae(), range(seed, seed + STYLED))
        taught = styles.train(base, styled, plain, tokenizer, training.file(name), training.steps, seed)
        if name in STYLE_CALIBRATION_STEPS:
            pools = style_calibration.mixed(base, taught, styled, plain, training.vae(), tokenizer)
            state, steps = training.file(f"{name}-calibration"), STYLE_CALIBRATION_STEPS[name]
            taught = style_calibration.calibrate(base, taught, *pools, tokenizer, state, steps, seed)
        parts = nn.ModuleDict({"text_encoder": taught["text_encoder"], "unet": base["unet"]})
        training.ship(name, export.base_pipeline(training.vae(), parts, tokenizer), change=taught["unet"].tensors())  # type: ignore[operator]

    return member


def _controlnet(training: Training) -> None:
    pool = training.pool().whole()
    depths = torch.from_numpy(np.stack([np.asarray(sample(scene.seed).depth) for scene in pool.scenes]))
    state = training.file("controlnet-depth")
    model = controlnet.train(training.base(), pool, depths, training.tokenizer(), state, training.steps, training.seed)
    training.ship_model("controlnet-depth", model)


def _controlnet_canny(training: Training) -> None:
    pool = edit.kept_pool(training.vae(), range(training.seed, training.seed + EDITED), training.file("edit-pool"))
    pictures, found = edges.kept_edges(pool, training.file("edges"))
    start = ControlNetModel.from_pretrained(path("controlnet-depth"))
    state = training.file("controlnet-canny")
    tokenizer, steps, seed = training.tokenizer(), training.steps, training.seed
    model = controlnet.train(training.base(), pictures, found, tokenizer, state, steps, seed, start)
    training.ship_model("controlnet-canny", model)


def _x2_upscaler(training: Training) -> None:
    seeds = range(training.seed, training.seed + STYLED)
    small = latent_pool(training.vae(), seeds, flawed=0.0)
    large = latent_pool(training.vae(), seeds, flawed=0.0, size=256)
    parts = training.text_encoder(), training.tokenizer()
    unet = x2_upscaler.train(small, large, *parts, training.file("x2-upscaler"), training.steps, training.seed)
    _calibrate_x2(training, unet, small, large, X2_CALIBRATION_STEPS, "x2-calibration")


def _calibrate_x2(training: Training, unet: nn.Module, small: LatentPool, large: LatentPool, steps: int, name: str) -> None:
    pixels = render_pool([scene.seed for scene in large.scenes], 256)
    seen = small, large, pixels, training.vae(), training.text_encoder(), training.tokenizer()
    unet = x2_calibration.calibrate(unet, *seen, training.file(name), steps, training.seed)
    # A tokenizer that was used keeps how: a new one ships.
    made = x2_upscaler.pipeline(training.vae(), training.text_encoder(), training.tokenizer(), unet)
    training.ship("x2-upscaler", made)


def _decoder(training: Training) -> None:
    pools = [
        decoder.redrawn(
            AutoPipelineForImage2Image.from_pretrained(path(name)),
            range(training.seed, training.seed + count),
            name if name in STYLES else None,
        )
        for name, count in REDRAWN.items()
    ]
    upscaler = StableDiffusionLatentUpscalePipeline.from_pretrained(path("x2-upscaler"))
    enlarged = decoder.enlarged(upscaler, range(training.seed, training.seed + ENLARGED))
    redrawn = decoder.Redrawn.joined(*pools)
    model = decoder.finish(training.vae(), [redrawn, enlarged], training.file("decoder"), training.steps, training.seed)
    model.save_pretrained(training.state / "vae")
    for owner, lent in {"sd15": model, "sdxl": sdxl.rescaled(model)}.items():
        if (CHECKPOINTS / owner / "vae").exists():
            export.export_model(lent, CHECKPOINTS / owner / "vae")
    if (CHECKPOINTS / "sdxl" / "vae").exists():
        export.export_few_changes(CHECKPOINTS, "sdxl", "vae")
    export.write_manifest(CHECKPOINTS)
    # The x2 upscaler was calibrated to what the decoder drew before.
    seeds = range(training.seed, training.seed + STYLED // 3)
    small, large = (latent_pool(training.vae(), seeds, flawed=0.0, size=size) for size in (128, 256))
    unet = UNet2DConditionModel.from_pretrained(CHECKPOINTS / "x2-upscaler" / "unet")
    _calibrate_x2(training, unet, small, large, X2_AGAIN_STEPS, "x2-again")


def _x4_upscaler(training: Training) -> None:
    seeds = range(training.seed, training.seed + STYLED // 3)
    pools = [render_pool(seeds, size) for size in (256, 512)]
    parts = training.text_encoder(), training.tokenizer()
    model = x4_upscaler.train_vae(pools, training.vae(), training.file("x4-vae"), X4_VAE_STEPS, training.seed)
    scenes = [sample(seed) for seed in seeds]
    unet = x4_upscaler.train(pools, scenes, model, *parts, training.file("x4-upscaler"), training.steps, training.seed)
    training.ship("x4-upscaler", x4_upscaler.pipeline(model, *parts, unet), 256)


def _sdxl(name: str) -> Callable[[Training], None]:
    def member(training: Training) -> None:
        tokenizer, refiner = training.tokenizer(), name == "sdxl-refiner"
        state = training.file(name)
        modules = sdxl.train(training.base(), training.pool(), tokenizer, state, training.steps, training.seed, refiner)
        training.ship(name, sdxl.pipeline(training.vae(), modules, tokenizer))

    return member


def _edit(training: Training) -> None:
    base, vae, tokenizer, seed = training.base(), training.vae(), training.tokenizer(), training.seed
    pool = edit.kept_pool(vae, range(seed, seed + EDITED), training.file("edit-pool"))
    taught = edit.train(base, pool, vae, tokenizer, training.file("edit"), training.steps, seed)
    change = taught["unet"].change.tensors()  # type: ignore[operator, union-attr]
    training.ship("edit", edit.pipeline(vae, taught, training.tokenizer()), change=change)


def _inpaint(training: Training) -> None:
    base, vae, tokenizer, seed = training.base(), training.vae(), training.tokenizer(), training.seed
    pool = edit.kept_pool(vae, range(seed, seed + EDITED), training.file("edit-pool"))
    holes = inpaint.kept_holes(vae, pool, training.file("inpaint-pool"))
    taught = inpaint.train(base, pool, holes, tokenizer, training.file("inpaint"), training.steps, seed)
    made = inpaint.pipeline(vae, base["text_encoder"], training.tokenizer(), taught)
    training.ship("inpaint", made, change=taught.change.tensors())


def _lcm_lora(training: Training) -> None:
    base, tokenizer, seed = training.base(), training.tokenizer(), training.seed
    gone = lcm.kept_ways(base, tokenizer, range(seed, seed + WAYS), training.state)
    pool = edit.kept_pool(training.vae(), range(seed, seed + EDITED), training.file("edit-pool"))
    adapter = lcm.train(base, gone, pool, tokenizer, training.file("lcm-lora"), training.steps, seed)
    lcm.export(adapter, CHECKPOINTS / "lcm-lora")
    export.write_manifest(CHECKPOINTS)


def _ip_adapter(training: Training) -> None:
    base, tokenizer, seed = training.base(), training.tokenizer(), training.seed
    pool = edit.kept_pool(training.vae(), range(seed, seed + EDITED), training.file("edit-pool"))
    encoder = CLIPVisionModelWithProjection.from_pretrained(image_encoder()).eval()
    looked = ip_adapter.seen(encoder, range(seed + EDITED, seed + EDITED + LOOKED_AT))
    unet = ip_adapter.train(base, pool, looked, tokenizer, training.file("ip-adapter"), training.steps, seed)
    ip_adapter.export(unet, CHECKPOINTS / "ip-adapter")
    export.write_manifest(CHECKPOINTS)


def _clip(training: Training) -> None:
    model = clip.train(training.tokenizer(), training.file("clip"), training.steps, training.seed)
    training.keep("clip", model)
    training.ship_model("clip", model, training.tokenizer(), clip.new_processor())


def _depth(training: Training) -> None:
    model = depth.train(training.file("depth-estimator"), training.steps, training.seed)
    training.ship_model("depth-estimator", model, depth.new_processor())


def _segmenter(training: Training) -> None:
    seeds = range(training.seed, training.seed + SEGMENTED)
    pool = segment.kept_pool(training.vae(), seeds, training.file("segmenter-pool"))
    model = segment.train(pool, training.file("segmenter"), training.steps, training.seed)
    training.ship_model("segmenter", model, segment.new_processor())


def _kandinsky22(training: Training) -> None:
    steps, seed, tokenizer, seer = training.steps, training.seed, training.tokenizer(), training.clip()
    latents = movq.train(training.file("movq"), training.vae(), MOVQ_STEPS, seed)
    pool = kandinsky.encode(latents, seer, range(seed, seed + POOL * 3 // 5))
    prior = kandinsky.train_prior(pool, seer, tokenizer, training.file("kandinsky22-prior"), PRIOR_STEPS, seed)
    nothing = kandinsky.seen(seer, torch.zeros(1, 3, 128, 128))
    start = training.base()["unet"]
    unet = kandinsky.train_decoder(pool, nothing, start, training.file("kandinsky22"), steps, seed)
    training.ship("kandinsky22", kandinsky.pipeline(seer, tokenizer, latents, unet, prior))


@dataclass(frozen=True)
class Member:
    """One member: the function that trains and ships it, and its usual number of steps."""

    train: Callable[[Training], None]
    steps: int


MEMBERS: dict[str, Member] = {
    "vae": Member(_vae, 3400),
    "recogniser": Member(_recogniser, 700),
    "sd15": Member(_sd15, 5600),
    "controlnet-depth": Member(_controlnet, 1600),
    **{style: Member(_style(style), 4700) for style in STYLES},
    "clip": Member(_clip, 1500),
    "x2-upscaler": Member(_x2_upscaler, 9000),
    "decoder": Member(_decoder, 4500),
    "x4-upscaler": Member(_x4_upscaler, 4200),
    "sdxl-refiner": Member(_sdxl("sdxl-refiner"), 500),
    "kandinsky22": Member(_kandinsky22, 1800),
    "depth-estimator": Member(_depth, 1200),
    "segmenter": Member(_segmenter, 4500),
    "sdxl": Member(_sdxl("sdxl"), 1300),
    "edit": Member(_edit, 6000),
    "inpaint": Member(_inpaint, 7000),
    "lcm-lora": Member(_lcm_lora, 1500),
    "ip-adapter": Member(_ip_adapter, 1500),
    "controlnet-canny": Member(_controlnet_canny, 1500),
}
"""Every member, in an order in which each finds what it begins from."""
