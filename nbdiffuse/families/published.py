"""Checkpoints on the hub that have a name here: what is known of each without asking the hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

OPEN_RAIL, OPEN_RAIL_XL, APACHE = "CreativeML OpenRAIL-M", "CreativeML Open RAIL++-M", "Apache-2.0"
FLUX_DEV, STABILITY = "FLUX.1 dev, non-commercial", "Stability AI Community"
ACTIVATIONS = 2
"""Gigabytes that a run takes beside the weights, roughly."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A checkpoint on the hub.

    Parameters
    ----------
    kind
        Class of the pipeline that it was saved from, or a key of `families.FAMILIES`.
    native_size
        Longer side, in pixels, that it was trained for.
    parts
        Millions of parameters of each of its models; the largest one first.
    precisions
        Bytes of a number in its files, one for each set of files that it has: 4, or 2 for half precision.
    licence
        As its publisher states it.
    gated
        Whether the hub gives it only to who has accepted its terms.
    scheduler
        Class, without "Scheduler", that it is saved with.
    files
        Gigabytes of its files, where they are of several precisions.
    """

    kind: str
    native_size: int
    parts: tuple[int, ...]
    precisions: tuple[int, ...] = (2,)
    licence: str = APACHE
    gated: bool = False
    scheduler: str | None = None
    files: float | None = None

    @property
    def downloads(self) -> tuple[float, ...]:
        """Gigabytes that a run may fetch, about: those of each of its sets of files."""
        if self.files is not None:
            return (self.files,)
        return tuple(sum(self.parts) * size / 1000 for size in self.precisions)

    @property
    def memory(self) -> int:
        """Gigabytes that hold its largest model in half precision and a run, about."""
        return round(max(self.parts) * 2 / 1000) + ACTIVATIONS


_CLIP_L, _CLIP_G, _T5, _VAE, _SAFETY = 123, 695, 4762, 84, 304
_SD15: dict[str, Any] = {"native_size": 512, "parts": (860, _CLIP_L, _VAE, _SAFETY), "precisions": (4, 2), "scheduler": "PNDM"}
_SDXL: dict[str, Any] = {"kind": "stable-diffusion-xl", "parts": (2567, _CLIP_L, _CLIP_G, _VAE), "precisions": (4, 2)}
_FLOW: dict[str, Any] = {"native_size": 1024, "scheduler": "FlowMatchEulerDiscrete"}
_FLUX: dict[str, Any] = {
    "parts": (11901, _T5, _CLIP_L, _VAE),
    "licence": FLUX_DEV,
    "gated": True,
    **_FLOW,
}
_QWEN: dict[str, Any] = {"parts": (20430, 8292, 127), **_FLOW}


def _sd15(**more: Any) -> Published:
    return Published(**{"kind": "stable-diffusion", "licence": OPEN_RAIL, **_SD15, **more})


PUBLISHED: Mapping[str, Published] = MappingProxyType(
    {
        "stable-diffusion-v1-5/stable-diffusion-v1-5": _sd15(),
        "ogkalu/Comic-Diffusion": _sd15(),
        "kohbanye/pixel-art-style": _sd15(),
        "nitrosocke/elden-ring-diffusion": _sd15(),
        "SimianLuo/LCM_Dreamshaper_v7": _sd15(
            kind="LatentConsistencyModelPipeline", native_size=768, precisions=(4,), licence="MIT", scheduler="LCM"
        ),
        "stable-diffusion-v1-5/stable-diffusion-inpainting": _sd15(),
        "timbrooks/instruct-pix2pix": _sd15(kind="StableDiffusionInstructPix2PixPipeline", licence="MIT"),
        "stabilityai/stable-diffusion-xl-base-1.0": Published(
            native_size=1024, licence=OPEN_RAIL_XL, scheduler="EulerDiscrete", **_SDXL
        ),
        "stabilityai/stable-diffusion-xl-refiner-1.0": Published(
            kind="stable-diffusion-xl-refiner",
            native_size=1024,
            parts=(2260, _CLIP_G, _VAE),
            precisions=(4, 2),
            licence=OPEN_RAIL_XL,
            scheduler="EulerDiscrete",
        ),
        "stabilityai/sdxl-turbo": Published(native_size=512, licence=STABILITY, scheduler="EulerAncestralDiscrete", **_SDXL),
        "stabilityai/stable-diffusion-3.5-medium": Published(
            kind="StableDiffusion3Pipeline",
            parts=(2470, _T5, _CLIP_G, _CLIP_L, _VAE),
            licence=STABILITY,
            gated=True,
            **_FLOW,
        ),
        "black-forest-labs/FLUX.1-dev": Published(kind="FluxPipeline", **_FLUX),
        "black-forest-labs/FLUX.1-schnell": Published(kind="FluxPipeline", **{**_FLUX, "licence": APACHE}),
        "black-forest-labs/FLUX.1-Krea-dev": Published(kind="FluxPipeline", **_FLUX),
        "black-forest-labs/FLUX.1-Kontext-dev": Published(kind="FluxKontextPipeline", **_FLUX),
        "black-forest-labs/FLUX.2-klein-4B": Published(kind="Flux2KleinPipeline", parts=(3876, 4022, _VAE), **_FLOW),
        "Qwen/Qwen-Image": Published(kind="QwenImagePipeline", **_QWEN),
        "Qwen/Qwen-Image-Edit-2511": Published(kind="QwenImageEditPlusPipeline", **_QWEN),
        # Its transformer is in full precision, and the rest in half.
        "Tongyi-MAI/Z-Image-Turbo": Published(kind="ZImagePipeline", parts=(6155, 4022, _VAE), files=32.8, **_FLOW),
        "lodestones/Chroma1-HD": Published(kind="ChromaPipeline", parts=(8900, _T5, _VAE), **_FLOW),
        "kandinsky-community/kandinsky-2-2-decoder": Published(
            kind="KandinskyV22Pipeline",
            native_size=512,
            parts=(1253, 1845, 1026, _CLIP_G, 68),
            precisions=(4,),
            scheduler="DDPM",
        ),
        "stabilityai/sd-x2-latent-upscaler": Published(
            kind="StableDiffusionLatentUpscalePipeline",
            native_size=512,
            parts=(373, _CLIP_L, _VAE),
            precisions=(4,),
            licence=OPEN_RAIL_XL,
            scheduler="EulerDiscrete",
        ),
        "stabilityai/stable-diffusion-x4-upscaler": Published(
            kind="StableDiffusionUpscalePipeline",
            native_size=512,
            parts=(473, 340, 55),
            precisions=(4, 2),
            licence=OPEN_RAIL_XL,
            scheduler="DDIM",
        ),
        **dict.fromkeys(
            ("lllyasviel/control_v11f1p_sd15_depth", "lllyasviel/control_v11p_sd15_canny"),
            Published(kind="ControlNetModel", native_size=512, parts=(361,), precisions=(4, 2), licence="OpenRAIL"),
        ),
    }
)
"""By hub id.

Parameters are those of diffusers' classes at the published widths and depths; file sizes follow from them,
so both are near and not exact. Whether a repository is gated, and its licence, are as of 2026.
"""


def access(repo: str) -> str:
    """Say how a person gets a gated checkpoint of `PUBLISHED`; "" where the hub gives it to anybody."""
    found = PUBLISHED.get(repo)
    if found is None or not found.gated:
        return ""
    return f"gated: accept its terms at https://huggingface.co/{repo}, then run `hf auth login`"


def gigabytes(number: float) -> str:
    """Write gigabytes that are near and not exact, such as "about 33.7 GB"."""
    return f"about {round(number, 1 if number < 10 else None):g} GB"
