"""The families that this version runs, as data."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .family import Family

_REFINER_ONLY = frozenset({"aesthetic_score", "negative_aesthetic_score"})
_WEIGHTING = frozenset({"weighting"})
_T5_LENGTH = MappingProxyType({"max_sequence_length": 512})
"""T5 is not asked for more than its tokenizer's own length."""
MOST_REFERENCES = 16
"""A guard: each picture is another row of patches that the transformer attends to."""
_HEIGHT_WIDTH = MappingProxyType({"height": "height", "width": "width"})
"""Without them every picture becomes a square of the checkpoint's own size."""

_WITH_CONTROLNETS = (
    "txt2img",
    "img2img",
    "img2img+mask",
    "txt2img+controlnet",
    "img2img+controlnet",
    "img2img+mask+controlnet",
)
_WITH_UNION = ("txt2img+controlnet-union", "img2img+controlnet-union", "img2img+mask+controlnet-union")
_WITH_PAG = ("txt2img+pag", "img2img+pag", "img2img+mask+pag", "txt2img+controlnet+pag")


def _flow(**more: Any) -> Family:
    """Return a family of flow matching: what most of these have, and what one has instead."""
    usual = {
        "steps": "ceil",
        "size_multiple": 16,
        "size_arguments": _HEIGHT_WIDTH,
        "scheduler": "flow",
        "scheduler_needs": "shift",
        "left_out": _WEIGHTING,
    }
    return Family(**{**usual, **more})


def _flux(**more: Any) -> Family:
    """Return a family whose transformer is Flux's, or made after it."""
    return _flow(packed=True, limits=_T5_LENGTH, **more)


_PLAIN_MASK = frozenset({"img2img+mask"})
_REDRAWING = ("txt2img", "img2img", "img2img+mask")
_CONTROLLED = ("txt2img+controlnet", "img2img+controlnet", "img2img+mask+controlnet")
_FLUX_CONTROL = ("FluxControlPipeline", "FluxControlImg2ImgPipeline", "FluxControlInpaintPipeline")
_SEEDLESS = "encodes the picture with random numbers that no seed decides"
_QWEN_EDIT = MappingProxyType(
    {
        # Its latents have an axis of frames, and its pipelines read pictures with their text encoder, too.
        "takes_latents": False,
        "packed": True,
        "left_out": _WEIGHTING | {"guidance_scale"},
        # For the processor of its text encoder, which is made for video as well.
        "libraries": ("torchvision",),
    }
)
_EDIT_INPAINT = "diffusers' QwenImageEditInpaintPipeline"

USUAL = "stable-diffusion"
"""Family of the model that runs where none is said."""
FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.key: family
        for family in (
            Family(
                key="stable-diffusion",
                title="Stable Diffusion 1 or 2",
                known_by_parts=True,
                unet_channels=(4, 9),
                masks_latents=_PLAIN_MASK,
                # diffusers has no class for PAG with a ControlNet on a picture without a mask.
                modes=(*_WITH_CONTROLNETS, *_WITH_PAG, "img2img+mask+controlnet+pag"),
            ),
            Family(
                key="stable-diffusion-xl",
                title="Stable Diffusion XL",
                known_by_parts=True,
                unet_channels=(4, 9),
                masks_latents=_PLAIN_MASK,
                # diffusers has no class for PAG with a ControlNet and a mask.
                modes=(*_WITH_CONTROLNETS, *_WITH_UNION, *_WITH_PAG, "img2img+controlnet+pag"),
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
            _flow(
                key="stable-diffusion-3",
                title="Stable Diffusion 3",
                modes=(*_REDRAWING, "txt2img+controlnet", "txt2img+pag", "img2img+pag"),
                unseeded=frozenset({"txt2img+controlnet"}),
                broken={"img2img+mask+controlnet": f"diffusers' StableDiffusion3ControlNetInpaintingPipeline {_SEEDLESS}"},
                controlnet="SD3ControlNetModel",
                scheduler_needs="",
                limits=_T5_LENGTH,
            ),
            _flux(
                key="flux",
                title="Flux",
                modes=(*_REDRAWING, *_CONTROLLED),
                controlnet="FluxControlNetModel",
            ),
            _flux(
                key="flux-control",
                title="Flux Control",
                modes=_CONTROLLED,
                classes=dict(zip(_CONTROLLED, _FLUX_CONTROL, strict=True)),
                controlnet="",
                most_controlnets=1,
            ),
            _flux(
                key="flux-fill",
                title="Flux Fill",
                modes=("img2img+mask",),
                classes={"img2img+mask": "FluxFillPipeline"},
            ),
            _flow(
                key="qwenimage",
                title="Qwen-Image",
                modes=(*_REDRAWING, "txt2img+controlnet"),
                classes={"txt2img+controlnet": "QwenImageControlNetPipeline"},
                broken={"img2img+mask+controlnet": f"diffusers' QwenImageControlNetInpaintPipeline {_SEEDLESS}"},
                controlnet="QwenImageControlNetModel",
                most_controlnets=1,
                # Its latents have an axis of frames, and its img2img pipeline takes none.
                takes_latents=False,
                packed=True,
                # Guidance is `true_cfg_scale`; no checkpoint has the embedding that `guidance_scale` goes to.
                left_out=_WEIGHTING | {"guidance_scale"},
            ),
            _flow(
                key="qwenimage-edit",
                title="Qwen-Image-Edit",
                modes=("edit",),
                broken={"edit+mask": f"{_EDIT_INPAINT} makes about a megapixel of it, whatever size is asked for"},
                **_QWEN_EDIT,
            ),
            _flow(
                key="qwenimage-edit-plus",
                title="Qwen-Image-Edit Plus",
                modes=("edit",),
                references={"edit": MOST_REFERENCES},
                **_QWEN_EDIT,
            ),
            _flow(
                key="z-image",
                title="Z-Image",
                modes=(*_REDRAWING, "txt2img+controlnet", "img2img+mask+controlnet"),
                classes={
                    "txt2img+controlnet": "ZImageControlNetPipeline",
                    "img2img+mask+controlnet": "ZImageControlNetInpaintPipeline",
                },
                controlnet="ZImageControlNetModel",
                most_controlnets=1,
            ),
            _flux(
                key="chroma",
                title="Chroma",
                # diffusers' automatic classes for img2img and inpainting do not know it.
                classes={"img2img": "ChromaImg2ImgPipeline", "img2img+mask": "ChromaInpaintPipeline"},
                # The pipeline asks for it as Flux's does, and Chroma's transformer takes no guidance.
                missing_config={"img2img+mask": {"guidance_embeds": False}},
                saved_as=("Chroma",),
            ),
            Family(
                key="lcm",
                title="a latent consistency model",
                unet_channels=(4,),
                modes=("txt2img", "img2img"),
                steps="distilled",
                strength_is_start=False,
                scheduler_needs="denoised",
                left_out=_WEIGHTING,
            ),
            Family(
                key="kandinsky",
                title="Kandinsky 2.1",
                saved_as=("KandinskyPipeline", "KandinskyCombined", "KandinskyImg2Img", "KandinskyInpaint"),
                unet_channels=(4, 9),
                mask_channels=(9,),
                size_multiple=64,
                size_arguments=_HEIGHT_WIDTH,
                # diffusers hands (width, height) to a function of (height, width), and then expects latents of the other shape.
                square=True,
                takes_latents=False,
                adds_noise_itself=True,
                strength_is_start=False,
                scheduler_needs="generator",
            ),
            Family(
                key="kandinsky3",
                title="Kandinsky 3",
                unet_channels=(4,),
                modes=("txt2img", "img2img"),
                size_multiple=64,
                takes_latents=False,
                scheduler_needs="generator",
                left_out=_WEIGHTING,
            ),
            _flux(
                key="flux-kontext",
                title="Flux Kontext",
                modes=("edit", "edit+mask"),
                classes={"edit+mask": "FluxKontextInpaintPipeline"},
                references={"edit+mask": 1},
                area_argument="max_area",
                # Else the picture is brought to one of the sizes near a megapixel that it was trained on.
                fixed={"_auto_resize": False},
                # Its inpainting pipeline crops around the mask and leaves the crop as the result.
                left_out=_WEIGHTING | {"mask_crop"},
            ),
            _flux(
                key="flux2-klein",
                title="Flux 2 Klein",
                modes=("txt2img", "edit", "edit+mask"),
                classes={"edit+mask": "Flux2KleinInpaintPipeline"},
                references={"edit": MOST_REFERENCES, "edit+mask": 1},
                most_area={"edit+mask": 1024 * 1024},
                # Its latents are patches that its VAE's batch norm has scaled; its pipeline takes pictures alone.
                takes_latents=False,
                shift_rule="empirical",
                least_side=64,
                most_ratio=8,
            ),
            Family(
                key="kandinsky22",
                title="Kandinsky 2.2",
                saved_as=("KandinskyV22",),
                unet_channels=(4, 9),
                mask_channels=(9,),
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
                gives_latents=True,
            ),
            Family(
                key="stable-diffusion-xl-instruct-pix2pix",
                title="InstructPix2Pix XL",
                unet_channels=(8,),
                modes=("edit",),
                classes={"edit": "StableDiffusionXLInstructPix2PixPipeline"},
                steps="all",
                size_arguments=_HEIGHT_WIDTH,
                guidance_rows=3,
                # As that of InstructPix2Pix.
                takes_latents=False,
                gives_latents=True,
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
                left_out=frozenset({"weighting", "freeu"}),  # its UNet has blocks that FreeU does not know
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
