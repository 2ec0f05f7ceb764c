"""The families that this version runs, as data."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .family import Family

_REFINER_ONLY = frozenset({"aesthetic_score", "negative_aesthetic_score"})

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.key: family
        for family in (
            Family(
                key="stable-diffusion",
                title="Stable Diffusion 1 or 2",
                known_by_parts=True,
                unet_channels=(4, 9),
                modes=("txt2img", "img2img", "img2img+mask", "txt2img+controlnet", "img2img+controlnet"),
            ),
            Family(
                key="stable-diffusion-xl",
                title="Stable Diffusion XL",
                known_by_parts=True,
                unet_channels=(4, 9),
                left_out=_REFINER_ONLY,
            ),
            Family(
                key="stable-diffusion-xl-refiner",
                title="the refiner of Stable Diffusion XL",
                known_by_parts=True,
                unet_channels=(4,),
                modes=("img2img",),
                classes={"img2img": "StableDiffusionXLImg2ImgPipeline"},
            ),
            Family(
                key="stable-diffusion-3",
                title="Stable Diffusion 3",
                steps="ceil",
                size_multiple=16,
                # Without them every picture becomes a square of the checkpoint's own size.
                size_arguments={"height": "height", "width": "width"},
                scheduler="flow",
                left_out=frozenset({"weighting"}),
            ),
            Family(
                key="kandinsky22",
                title="Kandinsky 2.2",
                saved_as=("KandinskyV22",),
                unet_channels=(4,),
                modes=("txt2img", "img2img"),
                size_multiple=64,
                # diffusers hands (width, height) to a function of (height, width): kandinsky2_2_img2img's preprocess.
                size_arguments={"height": "width", "width": "height"},
                # Its img2img pipeline encodes whatever it is given.
                takes_latents=False,
                scheduler_needs="generator",
            ),
            Family(
                key="instruct-pix2pix",
                title="InstructPix2Pix",
                unet_channels=(8,),
                modes=("edit",),
                classes={"edit": "StableDiffusionInstructPix2PixPipeline"},
                steps="all",
                guidance_rows=3,
                # Its pipeline takes latents of a picture as the VAE makes them, and those of a result are scaled.
                takes_latents=False,
            ),
            Family(
                key="x2-upscaler",
                title="the x2 latent upscaler",
                unet_channels=(8,),
                modes=("img2img",),
                classes={"img2img": "StableDiffusionLatentUpscalePipeline"},
                steps="all",
                scale=2,
                scheduler_needs="sigmas",
                left_out=frozenset({"weighting"}),
            ),
            Family(
                key="x4-upscaler",
                title="the x4 upscaler",
                unet_channels=(7,),
                modes=("img2img",),
                classes={"img2img": "StableDiffusionUpscalePipeline"},
                steps="all",
                scale=4,
                takes_latents=False,
            ),
        )
    }
)
"""Every family, by key."""
