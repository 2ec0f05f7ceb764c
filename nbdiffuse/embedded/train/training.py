"""One run of a training command: where its states are, what it begins from, and how a member is written as it ships."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from ..shared_weights import CHANGED, CHECKPOINTS
from . import base, clip, export, text
from .latents import LatentPool, latent_pool
from .renders import render_pool, to_unit

POOL = 20_000
"""Scenes that the denoisers see."""


@dataclass(frozen=True)
class Training:
    """One run of a training command.

    Parameters
    ----------
    state
        Folder of resumable states and of what other members begin from.
    steps
        Optimiser steps of the member's largest part.
    seed
        Of weights, batches and noise.
    """

    state: Path
    steps: int
    seed: int

    def file(self, name: str) -> Path:
        """Return a state's file."""
        return self.state / f"{name}.pt"

    def keep(self, name: str, modules: nn.Module) -> None:
        """Keep finished weights for the members that begin from them."""
        torch.save(modules.state_dict(), self.file(f"{name}-done"))

    def kept(self, name: str, modules: Any) -> Any:
        """Load finished weights into new modules."""
        modules.load_state_dict(torch.load(self.file(f"{name}-done"), weights_only=True))
        return modules.eval()

    def vae(self) -> AutoencoderKL:
        """Return the VAE of `sd15`: of this state, else the one that ships."""
        own = self.state / "vae"
        return AutoencoderKL.from_pretrained(own if own.exists() else CHECKPOINTS / "sd15" / "vae").eval()

    def tokenizer(self) -> CLIPTokenizer:
        """Return the tokenizer that the whole family shares: of this state, else the one that ships, else a new one."""
        own, shipped = self.state / "tokenizer", CHECKPOINTS / "sd15" / "tokenizer"
        if not own.exists() and not shipped.exists():
            text.new_tokenizer().save_pretrained(own)
        tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(own if own.exists() else shipped)
        return tokenizer

    def base(self) -> nn.ModuleDict:
        """Return the text encoder and the UNet of `sd15`: of this state, else those that ship."""
        if not self.file("sd15-done").exists():
            shipped = CHECKPOINTS / "sd15"
            text_encoder = CLIPTextModel.from_pretrained(shipped / "text_encoder")
            unet = UNet2DConditionModel.from_pretrained(shipped / "unet")
            return nn.ModuleDict({"text_encoder": text_encoder, "unet": unet}).eval()
        modules = {"text_encoder": text.new_text_encoder(self.tokenizer()), "unet": base.new_unet()}
        kept: nn.ModuleDict = self.kept("sd15", nn.ModuleDict(modules))
        return kept

    def text_encoder(self) -> CLIPTextModel:
        """Return the text encoder of `sd15`."""
        encoder: CLIPTextModel = self.base()["text_encoder"]
        return encoder

    def pool(self) -> LatentPool:
        """Return the plain scenes."""
        return latent_pool(self.vae(), range(self.seed, self.seed + POOL))

    def clip(self) -> CLIPModel:
        """Return the picture–text model: of this state, else the one that ships."""
        if not self.file("clip-done").exists():
            shipped: CLIPModel = CLIPModel.from_pretrained(CHECKPOINTS / "clip")
            return shipped.eval()
        model: CLIPModel = self.kept("clip", clip.new_clip(self.tokenizer()))
        return model

    def ship(self, name: str, pipeline: Any, size: int = 128, change: Mapping[str, Tensor] | None = None) -> None:
        """Write a pipeline into the package; of its UNet only the change, where there is one."""
        export.export(pipeline, CHECKPOINTS / name, to_unit(render_pool(range(32), size)))
        export.leave_borrowed_out(CHECKPOINTS, name)
        if change:
            export.export_change(change, CHECKPOINTS / name, "unet")
        elif name in CHANGED:
            for component in CHANGED[name]:
                export.export_few_changes(CHECKPOINTS, name, component)
        export.write_manifest(CHECKPOINTS)

    def ship_model(self, name: str, model: nn.Module, *others: Any) -> None:
        """Write one model into the package."""
        export.export_model(model, CHECKPOINTS / name, *others)
        export.write_manifest(CHECKPOINTS)
