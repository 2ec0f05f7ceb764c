"""A small network that says what a picture of the drawn world shows; the quality report measures with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .world import PALETTES, PLACES, SUBJECTS

FILE = Path(__file__).parent / "checkpoints" / "recogniser.safetensors"
SIDE = 64
HEADS = {"subject": SUBJECTS, "place": PLACES, "palette": PALETTES}


class Recogniser(nn.Module):
    """Five convolutions and one linear head for each of subject, place and palette."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, stride in ((3, 24, 1), (24, 48, 2), (48, 64, 2), (64, 96, 2), (96, 128, 2)):
            layers += [nn.Conv2d(before, after, 3, stride, 1), nn.GroupNorm(8, after), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        self.heads = nn.ModuleDict({name: nn.Linear(128 * 2 + 24 * 2, len(values)) for name, values in HEADS.items()})

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return logits for each head; `pixels` has shape (n, 3, 64, 64), in [-1, 1]."""
        early = self.body[:3](pixels)
        late = self.body[3:](early)
        pooled = [late.mean((2, 3)), late.amax((2, 3)), early.mean((2, 3)), early.std((2, 3))]
        features = torch.cat(pooled, dim=1)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def recognise(self, images: Sequence[Image.Image]) -> list[dict[str, str]]:
        """Name subject, place and palette of RGB pictures of any size."""
        named: list[dict[str, str]] = []
        for start in range(0, len(images), 64):
            logits = self(pixels_of(images[start : start + 64]))
            best = {name: values.argmax(1).tolist() for name, values in logits.items()}
            count = len(images[start : start + 64])
            named += [{name: HEADS[name][best[name][index]] for name in HEADS} for index in range(count)]
        return named

    @torch.no_grad()
    def probabilities(self, images: Sequence[Image.Image], head: str) -> Tensor:
        """Return the probabilities of one head, shape (n, classes), float32 in [0, 1]."""
        return self(pixels_of(images))[head].float().softmax(1)


def pixels_of(images: Sequence[Image.Image]) -> Tensor:
    """Return pictures as the recogniser takes them: shape (n, 3, 64, 64), float32 in [-1, 1]."""
    small = [np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)) for image in images]
    return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 127.5 - 1


def load() -> Recogniser:
    """Return the recogniser that ships with the package, ready to use."""
    model = Recogniser()
    model.load_state_dict({name: value.float() for name, value in load_file(FILE).items()})
    return model.eval()


def save(model: Recogniser) -> None:
    """Write the recogniser's weights in float16."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half().contiguous() for name, value in model.state_dict().items()}, FILE)
