"""Files of other tools, written from the rules of their formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo


def png(file: Path, **chunks: str) -> Path:
    """Write a PNG with text chunks, keyword `sd_metadata` is the chunk `sd-metadata`."""
    info = PngInfo()
    for name, text in chunks.items():
        info.add_itxt("sd-metadata" if name == "sd_metadata" else name, text)
    Image.new("RGB", (64, 64), (90, 120, 40)).save(file, pnginfo=info)
    return file


def jpeg(file: Path, comment: bytes, scheme: str | None = None) -> Path:
    """Write a JPEG or WebP whose EXIF carries a user comment, and Fooocus' scheme where it is given."""
    exif = Image.Exif()
    inside = exif.get_ifd(ExifTags.IFD.Exif)
    inside[ExifTags.Base.UserComment] = comment
    if scheme:
        inside[ExifTags.Base.MakerNote] = scheme.encode()
    Image.new("RGB", (64, 64), (90, 120, 40)).save(file, exif=exif.tobytes())
    return file


def a1111(prompt: str = "a cat", negative: str | None = None, **entries: Any) -> str:
    """Write generation text; keyword `CFG_scale` is the key `CFG scale`."""
    usual = {"Steps": 20, "Sampler": "Euler a", "CFG scale": 7, "Seed": 965400086, "Size": "512x768"}
    given = {key.replace("_", " "): value for key, value in entries.items()}
    last = ", ".join(f"{key}: {value}" for key, value in {**usual, **given}.items() if value is not None)
    return "\n".join([prompt, *([f"Negative prompt: {negative}"] if negative else []), last])


def comfy(denoise: float = 1.0, picture: bool = False, **sampler: Any) -> dict[str, Any]:
    """Return ComfyUI's default graph in the API's format, text-to-image or image-to-image."""
    start: dict[str, Any] = (
        {
            "10": {"class_type": "LoadImage", "inputs": {"image": "photo.png"}},
            "5": {"class_type": "VAEEncode", "inputs": {"pixels": ["10", 0], "vae": ["4", 2]}},
        }
        if picture
        else {"5": {"class_type": "EmptyLatentImage", "inputs": {"width": 640, "height": 512, "batch_size": 1}}}
    )
    inputs = {
        "seed": 156680208700286,
        "steps": 20,
        "cfg": 8,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": denoise,
        "model": ["4", 0],
        "positive": ["6", 0],
        "negative": ["7", 0],
        "latent_image": ["5", 0],
        **sampler,
    }
    return {
        "3": {"class_type": "KSampler", "inputs": inputs},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly.safetensors"}},
        **start,
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a galaxy in a bottle", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "text, watermark", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
    }


def invoke(**entries: Any) -> dict[str, Any]:
    """Return InvokeAI's metadata of a text-to-image run."""
    return {
        "app_version": "4.2.7",
        "generation_mode": "txt2img",
        "positive_prompt": "a landscape",
        "negative_prompt": "low quality",
        "width": 768,
        "height": 432,
        "seed": 356120443,
        "rand_device": "cpu",
        "cfg_scale": 7.5,
        "cfg_rescale_multiplier": 0,
        "steps": 30,
        "scheduler": "dpmpp_2m",
        "clip_skip": 0,
        "model": {"key": "abc", "name": "dreamshaper-8", "base": "sd-1", "type": "main"},
        "controlnets": [],
        "loras": [],
        **entries,
    }


def fooocus(**entries: Any) -> dict[str, Any]:
    """Return Fooocus' own metadata."""
    return {
        "prompt": "a fox",
        "negative_prompt": "",
        "prompt_expansion": "a fox, dramatic light",
        "styles": "['Fooocus V2']",
        "performance": "Speed",
        "resolution": "(1152, 896)",
        "guidance_scale": 4.0,
        "sharpness": 2.0,
        "steps": 30,
        "base_model": "juggernautXL_v8Rundiffusion",
        "base_model_hash": "aeb7e9e689",
        "sampler": "dpmpp_2m_sde_gpu",
        "scheduler": "karras",
        "seed": "4613287120384",
        "version": "Fooocus v2.5.5",
        **entries,
    }


A1111: dict[str, str] = {
    "plain": a1111(),
    "negative": a1111(negative="ugly, blurry"),
    "lines": a1111("a cat\non a mat", "ugly\nblurry"),
    "unicode": a1111("Ätna im Winter, 漢字 🙂"),
    "quoted": a1111(Lora_hashes='"a: 1, b: 2"', Version="v1.9.4"),
    "img2img": a1111(Denoising_strength=0.75, Init_image_hash="5a105e8b9d40e1329780d62ea2265d8a"),
    "hires": a1111(Denoising_strength=0.5, Hires_upscale=2, Hires_upscaler="Latent"),
    "karras": a1111(Sampler="DPM++ 2M Karras"),
    "schedule type": a1111(Sampler="DPM++ 2M", Schedule_type="Karras"),
    "no sampler here": a1111(Sampler="DPM adaptive"),
    "weights": a1111("a (red:1.3) cat, ((big))"),
    "model": a1111(Model_hash="6ce0161689", Model="v1-5-pruned"),
    "clip skip": a1111(Clip_skip=2),
    "large seed": a1111(Seed=2**64 - 1),
    "odd size": a1111(Size="510x333"),
    "infinite": a1111(CFG_scale="inf"),
    "many entries": a1111(**{f"Key_{number}": number for number in range(60)}),
    "like parameters": a1111("Steps: 3, Sampler: DDIM, CFG scale: 1, Seed: 2"),
    "windows": a1111("a cat", "ugly").replace("\n", "\r\n"),
    "dynamic": a1111("a {red|blue} cat"),
    "sdnext": a1111(App="SD.Next", Version="9c1b9f2", Operations="txt2img", Parser="native", Pipeline="StableDiffusionPipeline"),
    "sdnext img2img": a1111(App="SD.Next", Operations="img2img", Denoising_strength=0.3, Init_image_hash="1a2b3c4d"),
    "fooocus": a1111(Sampler="DPM++ 2M SDE", Version="Fooocus v2.5.5", Styles="\"['Fooocus V2']\"", Performance="Speed"),
}
COMFY: dict[str, Any] = {
    "default": comfy(),
    "img2img": comfy(0.5, picture=True),
    "karras": comfy(scheduler="karras"),
    "ancestral": comfy(sampler_name="euler_ancestral"),
    "no sampler here": comfy(sampler_name="lcm"),
    "linked seed": {**comfy(seed=["20", 0]), "20": {"class_type": "PrimitiveInt", "inputs": {"value": 77}}},
    "linked text": {
        **comfy(),
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["21", 0], "clip": ["4", 1]}},
        "21": {"class_type": "PrimitiveString", "inputs": {"value": "from elsewhere"}},
    },
    "lora": {
        **comfy(model=["11", 0]),
        "11": {"class_type": "LoraLoader", "inputs": {"lora_name": "x.safetensors", "model": ["4", 0], "clip": ["4", 1]}},
    },
    "two samplers": {
        **comfy(),
        "30": {"class_type": "KSampler", "inputs": {**comfy()["3"]["inputs"], "seed": 5, "latent_image": ["3", 0]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["30", 0], "vae": ["4", 2]}},
    },
    "cycle": {**comfy(), "6": {"class_type": "Loop", "inputs": {"again": ["6", 0]}}},
    "large seed": comfy(seed=2**64 - 1),
    "advanced": {
        **comfy(),
        "3": {
            "class_type": "KSamplerAdvanced",
            "inputs": {
                **comfy()["3"]["inputs"],
                "noise_seed": 9,
                "start_at_step": 4,
                "end_at_step": 10000,
                "add_noise": "enable",
            },
        },
    },
}
INVOKE: dict[str, Any] = {
    "txt2img": invoke(),
    "img2img": invoke(generation_mode="img2img", strength=0.6, init_image="b3c8.png"),
    "older model": invoke(model={"model_name": "amixx", "base_model": "sd-1", "model_type": "main"}),
    "sdxl": invoke(model={"name": "juggernaut", "base": "sdxl"}, positive_style_prompt="oil", generation_mode="sdxl_txt2img"),
    "style like prompt": invoke(model={"name": "j", "base": "sdxl"}, positive_style_prompt="a landscape"),
    "karras": invoke(scheduler="dpmpp_2m_k"),
    "lora": invoke(loras=[{"model": {"name": "x"}, "weight": 0.75}]),
    "only a prompt": {"positive_prompt": "a house"},
    "flux": invoke(model={"name": "flux", "base": "flux"}, scheduler="euler"),
    "list for a number": invoke(steps=[30], cfg_scale=[7.5]),
}
FOOOCUS: dict[str, Any] = {
    "own": fooocus(),
    "times": fooocus(resolution="1152×896", sampler="euler", scheduler="normal"),
    "list": fooocus(resolution=[1152, 896], seed=5),
    "no size": fooocus(resolution="large"),
}
BROKEN: dict[str, dict[str, str]] = {
    "no text": {},
    "comfy no json": {"prompt": "{not json"},
    "comfy list": {"prompt": "[1, 2]"},
    "comfy without sampler": {"prompt": json.dumps({"1": {"class_type": "LoadImage", "inputs": {}}})},
    "comfy nodes are words": {"prompt": json.dumps({"1": "KSampler"})},
    "comfy deep": {"prompt": "[" * 100_000},
    "invoke no json": {"invokeai_metadata": "null"},
    "invoke empty": {"invokeai_metadata": "{}"},
    "invoke 2 without image": {"sd_metadata": '{"model_weights": "x"}'},
    "fooocus no prompt": {"fooocus_scheme": "fooocus", "parameters": '{"seed": 1}'},
    "fooocus torn": {"fooocus_scheme": "fooocus", "parameters": '{"prompt": "a'},
    "fooocus scheme alone": {"fooocus_scheme": "fooocus"},
}
