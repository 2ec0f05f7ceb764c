"""`python -m nbdiffuse.embedded.train MEMBER`: train one member of the embedded family, or all in their order."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

from .. import recogniser
from . import base, calibration, export, judge, text, vae
from .latents import latent_pool
from .renders import render_pool, to_unit

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
STEPS = {"vae": 3400, "recogniser": 700, "sd15": 4000}
CALIBRATION_STEPS = 420
POOL = 20_000
"""Scenes that the denoisers see."""
UNSEEN = 1_000_000
"""First seed of the scenes that no training sees."""


def _vae(state: Path, steps: int, seed: int) -> None:
    model = vae.train(state / "vae.pt", steps, seed)
    unseen = to_unit(render_pool(range(UNSEEN, UNSEEN + 64)))
    logging.info("PSNR on unseen renders: %.2f dB", vae.psnr(model, unseen))
    model.save_pretrained(state / "vae")


def _trained_vae(state: Path) -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(state / "vae").eval()


def _tokenizer(state: Path) -> CLIPTokenizer:
    directory = state / "tokenizer"
    if not directory.exists():
        text.new_tokenizer().save_pretrained(directory)
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(directory)
    return tokenizer


def _sd15(state: Path, steps: int, seed: int) -> None:
    model, tokenizer = _trained_vae(state), _tokenizer(state)
    pool = latent_pool(model, range(seed, seed + POOL))
    modules = base.train(pool, tokenizer, state / "sd15.pt", steps, seed)
    torch.save(modules.state_dict(), state / "sd15-uncalibrated.pt")
    modules = calibration.calibrate(modules, pool, tokenizer, state / "sd15-calibration.pt", CALIBRATION_STEPS, seed)
    export.export_sd15(CHECKPOINTS / "sd15", model, modules, tokenizer, to_unit(render_pool(range(64))))
    export.write_manifest(CHECKPOINTS)


def _recogniser(state: Path, steps: int, seed: int) -> None:
    recogniser.save(judge.train(_trained_vae(state), state / "recogniser.pt", steps, seed))
    export.write_manifest(CHECKPOINTS)


MEMBERS: dict[str, Callable[[Path, int, int], None]] = {"vae": _vae, "recogniser": _recogniser, "sd15": _sd15}


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m nbdiffuse.embedded.train", description=__doc__)
    parser.add_argument("member", choices=[*MEMBERS, "all"])
    parser.add_argument(
        "--state", type=Path, default=Path.home() / ".cache" / "nbdiffuse-training", help="folder of resumable states"
    )
    parser.add_argument("--steps", type=int, help="optimiser steps instead of the member's own")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    arguments.state.mkdir(parents=True, exist_ok=True)
    for name in MEMBERS if arguments.member == "all" else [arguments.member]:
        MEMBERS[name](arguments.state, arguments.steps or STEPS[name], arguments.seed)


if __name__ == "__main__":
    main()
