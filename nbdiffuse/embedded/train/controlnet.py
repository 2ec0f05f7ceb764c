"""Train `controlnet-depth` and `controlnet-canny`: keep a layout while the prompt changes everything else.

The base stays as it is and hears no prompt; the ControlNet hears captions of any
scene, so that it learns the layout from its picture alone and leaves the words to
the base. The one for edges begins from the one for depth, which knows what a layout is.

Source: Zhang et al., "Adding Conditional Control to Text-to-Image Diffusion Models",
2023; diffusers `ControlNetModel.from_unet`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import ControlNetModel
from torch import Tensor, nn
from transformers import CLIPTokenizer

from .base import captions_of, noised, prepare, token_ids
from .latents import LatentPool
from .loop import Plan, fit, training_device

BATCH = 32


def new_controlnet(unet: nn.Module) -> ControlNetModel:
    """Return a ControlNet that starts from a UNet's encoder and adds nothing yet."""
    return ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16, 24, 32))


def train(
    modules: nn.ModuleDict,
    pool: LatentPool,
    controls: Tensor,
    tokenizer: CLIPTokenizer,
    state_file: Path,
    steps: int,
    seed: int = 0,
    start: ControlNetModel | None = None,
) -> ControlNetModel:
    """Train a ControlNet on a base that does not change.

    Parameters
    ----------
    modules
        `text_encoder` and `unet` of the base, as they ship.
    pool
        Scenes and latents.
    controls
        What it follows of each of the pool's scenes, such as depth maps, uint8, shape (n, side, side).
    tokenizer, state_file, steps, seed
        As for `base.train`.
    start
        The one that it begins from; one that adds nothing where None.
    """
    device = training_device()
    base = modules.to(device).eval().requires_grad_(False)
    torch.manual_seed(seed)
    controlnet = (start or new_controlnet(base["unet"])).to(device).requires_grad_(True)
    for model in (base["unet"], controlnet):
        prepare(model, device)
    with torch.no_grad():
        silence = base["text_encoder"](token_ids(tokenizer, [""]).to(device)).last_hidden_state

    def loss_of(model: nn.Module, generator: torch.Generator, step: int) -> Tensor:
        chosen, latents = pool.draw(BATCH, generator)
        noisy, noise, timesteps = noised(latents, generator)
        control = controls[chosen].float().div(255)[:, None].expand(-1, 3, -1, -1)
        captions = captions_of(pool, chosen, generator)
        captions = captions[1:] + captions[:1]
        with torch.no_grad():
            text = base["text_encoder"](token_ids(tokenizer, captions).to(device)).last_hidden_state
        given = noisy.to(device), timesteps.to(device)
        down, middle = model(*given, encoder_hidden_states=text, controlnet_cond=control.to(device), return_dict=False)
        predicted: Tensor = base["unet"](
            *given,
            silence.expand(BATCH, -1, -1),
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample
        return nn.functional.mse_loss(predicted.float(), noise.to(device))

    return fit(controlnet, loss_of, Plan(steps=steps, learning_rate=6e-4, averaging=0.995, seed=seed), state_file)
