"""Files of other tools, written from the rules of their formats."""

from __future__ import annotations

import gzip
import html
import json
import re
import struct
from pathlib import Path
from typing import Any

import piexif
import piexif.helper
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo


def png(file: Path, **chunks: str) -> Path:
    """Write a PNG with text chunks as the tools' `add_text` does; keyword `sd_metadata` is the chunk `sd-metadata`."""
    info = PngInfo()
    for name, text in chunks.items():
        info.add_text("sd-metadata" if name == "sd_metadata" else name, text)
    Image.new("RGB", (64, 64), (90, 120, 40)).save(file, pnginfo=info)
    return file


def jpeg(file: Path, text: str, encoding: str = "unicode") -> Path:
    """Write a JPEG or WebP as AUTOMATIC1111's `save_image_with_geninfo` does: with Pillow, then piexif puts the comment in."""
    Image.new("RGB", (64, 64), (90, 120, 40)).save(file, quality=80, lossless=False)
    comment = piexif.helper.UserComment.dump(text, encoding=encoding)
    piexif.insert(piexif.dump({"Exif": {piexif.ExifIFD.UserComment: comment}}), str(file))
    return file


def with_comment(file: Path, comment: bytes, ifd: str = "Exif") -> Path:
    """Write the same with the very bytes of a comment, in the block that the format asks for or in the first one ("0th")."""
    Image.new("RGB", (64, 64), (90, 120, 40)).save(file)
    block = piexif.dump({"Exif": {piexif.ExifIFD.UserComment: comment}})
    if ifd == "0th":
        # piexif knows the tag in its own block alone: the pointer to that block is made the comment.
        exif = Image.Exif()
        exif[ExifTags.Base.UserComment] = comment
        block = exif.tobytes()
    piexif.insert(block, str(file))
    return file


def fooocus_jpeg(file: Path, text: str, scheme: str) -> Path:
    """Write a JPEG or WebP as Fooocus' `get_exif` does: all of it in the first block, as texts."""
    exif = Image.Exif()
    exif[0x9286] = text
    exif[0x0131] = "Fooocus v2.5.5"
    exif[0x927C] = scheme
    Image.new("RGB", (64, 64), (90, 120, 40)).save(file, exif=exif)
    return file


def comfy_webp(file: Path, graph: Any) -> Path:
    """Write a WebP as ComfyUI's `SaveAnimatedWEBP` does: the graphs stand where cameras write their make and model."""
    image = Image.new("RGB", (64, 64), (90, 120, 40))
    exif = image.getexif()
    exif[0x0110] = f"prompt:{json.dumps(graph)}"
    exif[0x010F] = f"workflow:{json.dumps({'nodes': [], 'links': []})}"
    image.save(file, exif=exif, lossless=False, quality=80)
    return file


def behind_the_pixels(file: Path, kinds: tuple[bytes, ...] = (b"tEXt", b"iTXt", b"zTXt")) -> Path:
    """Move a PNG's texts behind its pixels, where ImageMagick and ExifTool write them."""
    data, at, chunks = file.read_bytes(), 8, []
    while at < len(data):
        size = 12 + struct.unpack(">I", data[at : at + 4])[0]
        chunks.append(data[at : at + size])
        at += size
    moved = [chunk for chunk in chunks if chunk[4:8] in kinds]
    rest = [chunk for chunk in chunks if chunk not in moved]
    file.write_bytes(data[:8] + b"".join([*rest[:-1], *moved, rest[-1]]))
    return file


def animated(file: Path, graph: Any) -> Path:
    """Write a PNG as ComfyUI's `SaveAnimatedPNG` does."""
    info = PngInfo()
    info.add(b"comf", b"prompt\0" + json.dumps(graph).encode("latin-1"), after_idat=True)
    frames = [Image.new("RGB", (64, 64), (90, 120, shade)) for shade in (0, 40)]
    frames[0].save(file, pnginfo=info, save_all=True, append_images=frames[1:])
    return file


def stealth(file: Path, text: str, signature: bytes = b"stealth_pngcomp", size: tuple[int, int] = (64, 64)) -> Path:
    """Write a picture with a text in its lowest bits, column by column, as sd_webui_stealth_pnginfo does."""
    content = gzip.compress(text.encode()) if signature.endswith(b"comp") else text.encode()
    bits = "".join(f"{byte:08b}" for byte in signature + struct.pack(">I", 8 * len(content)) + content)
    image = Image.new("RGBA", size, (90, 120, 40, 255))
    channels = [3] if b"png" in signature else [0, 1, 2]
    pixels = image.load()
    places = ((x, y, channel) for x in range(size[0]) for y in range(size[1]) for channel in channels)
    for bit, (x, y, channel) in zip(bits, places, strict=False):
        pixel = list(pixels[x, y])
        pixel[channel] = pixel[channel] & ~1 | int(bit)
        pixels[x, y] = tuple(pixel)
    (image if b"png" in signature else image.convert("RGB")).save(file, lossless=True, exact=True)
    return file


def draw_things(file: Path, entries: Any) -> Path:
    """Write a PNG as Draw Things does: JSON in the XMP."""
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/"><exif:UserComment><rdf:Alt>'
        f'<rdf:li xml:lang="x-default">{html.escape(json.dumps(entries), quote=False)}</rdf:li>'
        "</rdf:Alt></exif:UserComment></rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    return png(file, **{"XML:com.adobe.xmp": packet})


def exiftool_jpeg(file: Path, text: str) -> Path:
    """Write a JPEG whose own comment is a text."""
    Image.new("RGB", (64, 64), (90, 120, 40)).save(file, comment=text)
    return file


def a1111(prompt: str = "a cat", negative: str | None = None, **entries: Any) -> str:
    """Write generation text; keyword `CFG_scale` is the key `CFG scale`."""
    usual = {"Steps": 20, "Sampler": "Euler a", "CFG scale": 7, "Seed": 965400086, "Size": "512x768"}
    given = {key.replace("_", " "): value for key, value in entries.items()}
    last = ", ".join(f"{key}: {value}" for key, value in {**usual, **given}.items() if value is not None)
    return "\n".join([prompt, *([f"Negative prompt: {negative}"] if negative else []), last])


def as_automatic1111_reads(text: str) -> dict[str, str]:
    """Read generation text by the rules of AUTOMATIC1111's own reader, which takes the last line alone."""
    *lines, last = text.strip().split("\n")
    found = re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', last)
    if len(found) < 3:
        lines, found = [*lines, last], []
    read = {"Prompt": "", "Negative prompt": ""}
    field = "Prompt"
    for line in map(str.strip, lines):
        if line.startswith("Negative prompt:"):
            field, line = "Negative prompt", line[16:].strip()
        read[field] += ("" if read[field] == "" else "\n") + line
    return read | {key: json.loads(value) if value.startswith('"') else value for key, value in found}


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
SWARM = {
    "sui_image_params": {
        "prompt": "a red boat <lora:none:0.5>",
        "negativeprompt": "fog",
        "model": "OfficialStableDiffusion/sd_xl_base_1.0",
        "seed": 42,
        "steps": 20,
        "cfgscale": 7.0,
        "aspectratio": "1:1",
        "width": 1024,
        "height": 1024,
        "sampler": "euler",
        "scheduler": "karras",
        "loras": ["ink"],
        "loraweights": ["0.8"],
        "swarm_version": "0.9.3.1",
    },
    "sui_extra_data": {"date": "2025-01-25", "generation_time": "4.84 sec"},
    "sui_models": [{"name": "sd_xl_base_1.0.safetensors", "param": "model", "hash": "0xd7a9"}],
}
RUINED = {
    "Prompt": "a red boat",
    "Negative": "fog",
    "steps": 20,
    "cfg": 7.0,
    "width": 1152,
    "height": 896,
    "seed": 42,
    "sampler_name": "dpmpp_2m",
    "scheduler": "karras",
    "base_model_name": "juggernautXL.safetensors",
    "base_model_hash": "aeb7e9e689",
    "loras": [["0123abcd", "0.8 - ink.safetensors"]],
    "start_step": 0,
    "denoise": None,
    "clip_skip": 1,
    "software": "RuinedFooocus",
}
DRAW_THINGS = {
    "c": "a red boat",
    "uc": "fog",
    "model": "sd_v1.5_f16.ckpt",
    "sampler": "DPM++ 2M Karras",
    "scale": 7,
    "seed": 42,
    "seed_mode": "Scale Alike",
    "shift": 1,
    "size": "512x768",
    "steps": 20,
    "strength": 1,
    "lora": [{"model": "ink_lora_f16.ckpt", "weight": 0.6}],
    "v2": {"width": 512},
}
EASY = {
    "prompt": "a red boat",
    "negative_prompt": "fog",
    "seed": "42",
    "num_inference_steps": "20",
    "guidance_scale": "7.0",
    "width": "512",
    "height": "768",
    "sampler_name": "euler_a",
    "use_stable_diffusion_model": "sd-v1-4",
    "clip_skip": "False",
    "use_vae_model": "None",
}
EASY_OLDER = {
    "Prompt": "a red boat",
    "Negative Prompt": "fog",
    "Seed": "42",
    "Steps": "20",
    "Guidance Scale": "7.0",
    "Width": "512",
    "Height": "768",
    "Sampler": "euler_a",
    "Stable Diffusion model": "models/stable-diffusion/sd-v1-4",
}
NOVELAI = {
    "Title": "AI generated image",
    "Description": "a red boat",
    "Software": "NovelAI",
    "Source": "Stable Diffusion XL C1E1DE52",
    "Comment": json.dumps(
        {
            "steps": 20,
            "width": 832,
            "height": 1216,
            "scale": 7.0,
            "seed": 42,
            "n_samples": 1,
            "noise_schedule": "native",
            "sampler": "k_euler_ancestral",
            "request_type": "PromptGenerateRequest",
            "uc": "fog",
        }
    ),
}
TENSOR = {
    "models": [{"label": "ink", "type": "LORA", "weight": 0.8}],
    "prompt": "a red boat",
    "negativePrompt": "fog",
    "width": 768,
    "height": 1152,
    "samplerName": "Euler a",
    "steps": 20,
    "cfgScale": 7,
    "seed": "42",
    "clipSkip": 2,
    "baseModel": {"label": "SD1.5", "modelFileName": "dreamshaper_8"},
}
DREAM = '"a red boat [fog]" -s 20 -S 42 -W 512 -H 768 -C 7.0 -A k_euler_a'
FLAT: dict[str, tuple[str, dict[str, Any]]] = {
    "swarm": ("SwarmUI", {"parameters": json.dumps(SWARM)}),
    "ruined": ("RuinedFooocus", {"parameters": json.dumps(RUINED)}),
    "easy": ("Easy Diffusion", EASY),
    "easy older": ("Easy Diffusion", EASY_OLDER),
    "novelai": ("NovelAI", NOVELAI),
    "tensor": ("a tool that it does not name", {"generation_data": json.dumps(TENSOR)}),
    "dream": ("InvokeAI 1", {"Dream": DREAM}),
}
"""Tool and chunks of PNG files that say: "a red boat" without "fog", 20 steps, guidance 7, seed 42."""
FOOOCUS: dict[str, Any] = {
    "own": fooocus(),
    "times": fooocus(resolution="1152×896", sampler="euler", scheduler="normal"),
    "list": fooocus(resolution=[1152, 896], seed=5),
    "no size": fooocus(resolution="large"),
}
BROKEN: dict[str, dict[str, str]] = {
    "no text": {},
    "swarm torn": {"parameters": '{"sui_image_params": []}'},
    "novelai torn": {"Software": "NovelAI", "Comment": "{", "Description": "a"},
    "dream torn": {"Dream": "-s 20"},
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
