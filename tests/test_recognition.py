"""Weights of another family are called by their name, with what to type, before anything is loaded."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from hub import Hub
from PIL import Image
from safetensors.torch import save_file

from nbdiffuse import Recipe, Session, resolve
from nbdiffuse.checkpoints.locate import locate
from nbdiffuse.errors import CheckpointError, ParameterError
from nbdiffuse.families.families import FAMILIES
from nbdiffuse.families.recognition import Recognised, recognise
from nbdiffuse.families.well_known import WELL_KNOWN
from nbdiffuse.recipes import lora
from nbdiffuse.recipes.presets import PRESETS, name_for, preset_of

SD = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "text_encoder": "CLIPTextModel", "tokenizer": "CLIPTokenizer"}
XL = {**SD, "text_encoder_2": "CLIPTextModelWithProjection", "tokenizer_2": "CLIPTokenizer"}
FLUX = {
    "transformer": "FluxTransformer2DModel",
    "vae": "AutoencoderKL",
    "text_encoder": "CLIPTextModel",
    "tokenizer": "CLIPTokenizer",
}
LAYOUTS: dict[str, tuple[dict[str, str | None], dict[str, Any], str]] = {
    # class: components, UNet's config, family
    "StableDiffusionPipeline": (SD, {"in_channels": 4}, "sd15"),
    "StableDiffusionImg2ImgPipeline": (SD, {"in_channels": 4}, "sd15"),
    "StableDiffusionInpaintPipeline": (SD, {"in_channels": 9}, "sd15"),
    "LatentConsistencyModelPipeline": (SD, {"in_channels": 4}, "lcm"),
    "StableDiffusionXLPipeline": (XL, {"in_channels": 4, "addition_embed_type": "text_time"}, "sdxl"),
    "StableDiffusionXLInpaintPipeline": (XL, {"in_channels": 9, "addition_embed_type": "text_time"}, "sdxl"),
    "StableDiffusionXLImg2ImgPipeline": ({**XL, "text_encoder": None}, {"addition_embed_type": "text_time"}, "sdxl-refiner"),
    "KandinskyV22Pipeline": ({"unet": "UNet2DConditionModel", "movq": "VQModel"}, {"in_channels": 4}, "kandinsky22"),
    "StableDiffusionUpscalePipeline": (SD, {"in_channels": 7}, "x4-upscaler"),
    "StableDiffusionLatentUpscalePipeline": (SD, {"in_channels": 8}, "x2-upscaler"),
    "StableDiffusionInstructPix2PixPipeline": (SD, {"in_channels": 8}, "edit"),
    "StableDiffusionXLInstructPix2PixPipeline": (XL, {"in_channels": 8}, "stable-diffusion-xl-instruct-pix2pix"),
    "StableDiffusionDepth2ImgPipeline": (SD, {"in_channels": 5}, ""),
    "StableDiffusionImageVariationPipeline": ({**SD, "text_encoder": None, "image_encoder": "CLIPVisionModel"}, {}, ""),
    "StableUnCLIPImg2ImgPipeline": (SD, {"class_embed_type": "projection"}, ""),
    "StableDiffusion3Pipeline": ({**FLUX, "transformer": "SD3Transformer2DModel"}, {}, "stable-diffusion-3"),
    "FluxPipeline": (FLUX, {}, "flux"),
    "ChromaInpaintPipeline": ({**FLUX, "transformer": "ChromaTransformer2DModel"}, {}, "chroma"),
    "QwenImageImg2ImgPipeline": ({**FLUX, "transformer": "QwenImageTransformer2DModel"}, {}, "qwenimage"),
    "FluxKontextPipeline": (FLUX, {}, "flux-kontext"),
    "QwenImageEditPipeline": ({**FLUX, "transformer": "QwenImageTransformer2DModel"}, {}, "qwenimage-edit"),
    "ZImagePipeline": ({**FLUX, "transformer": "ZImageTransformer2DModel"}, {}, "z-image"),
    "PixArtSigmaPipeline": ({**FLUX, "transformer": "PixArtTransformer2DModel"}, {}, ""),
    "IFPipeline": ({"unet": "UNet2DConditionModel", "text_encoder": "T5EncoderModel"}, {"in_channels": 3}, ""),
    "StableVideoDiffusionPipeline": ({**SD, "unet": "UNetSpatioTemporalConditionModel"}, {"in_channels": 8}, ""),
    "KandinskyPipeline": ({"unet": "UNet2DConditionModel", "movq": "VQModel"}, {"in_channels": 4}, "kandinsky"),
    "Kandinsky3Pipeline": ({"unet": "Kandinsky3UNet", "movq": "VQModel"}, {"in_channels": 4}, "kandinsky3"),
}


def model_of(found: Recognised) -> str:
    """Return what `--model` calls a recognised family."""
    return name_for(found.family) if found.family else ""


def write(folder: Path, name: str, components: Mapping[str, str | None], unet: Mapping[str, Any]) -> Path:
    folder.mkdir()
    index = {part: [None, None] if kind is None else ["diffusers", kind] for part, kind in components.items()}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": name, **index}))
    if unet:
        (folder / "unet").mkdir()
        (folder / "unet" / "config.json").write_text(json.dumps(unet))
    return folder


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("preset", ["sd15", "sdxl", "kandinsky22", "x4-upscaler"])
def test_a_directory_of_each_class_is_run_or_named(name: str, preset: str, tmp_path: Path, scene: Any) -> None:
    components, unet, family = LAYOUTS[name]
    folder = write(tmp_path / "it", name, components, unet)
    found = recognise(str(folder))
    assert found is not None and (model_of(found), name in found.what) == (family, True)
    asked = Recipe(prompt="a", image=scene.image, model=preset, checkpoint=str(folder))
    if family == preset and unet.get("in_channels") != 9:
        assert resolve(asked).model == preset
        return
    with pytest.raises(ParameterError) as caught:
        resolve(asked)
    text = str(caught.value)
    if family == preset:
        assert text.startswith("`mask_image` must be given: ") and "its UNet takes 9 channels" in text
        assert resolve(asked.replace(mask_image=Image.new("L", scene.image.size, 255))).model == preset
    else:
        assert text.startswith("`checkpoint` must be weights of ") and name in text
        assert (f"Write `--model {family} --checkpoint {folder}`." if family else "This version redraws with: sd15") in text
    assert "\n" not in text and len(text) < 700


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_model_that_is_a_directory_is_its_family_or_says_what_it_is(name: str, tmp_path: Path) -> None:
    components, unet, family = LAYOUTS[name]
    folder = write(tmp_path / "it", name, components, unet)
    if family:
        assert preset_of(str(folder)).name == family
        return
    with pytest.raises(
        ParameterError, match=rf"It is an? {name}\. ((Video is not made|Nearest to it is `) ?.*)?This version redraws with: "
    ) as caught:
        preset_of(str(folder))
    assert "--model sd15 --checkpoint" not in str(caught.value)


@pytest.mark.parametrize(("channels", "purpose"), [(5, "depth-to-image"), (7, "upscaling"), (13, "something else")])
def test_a_unet_with_other_inputs_is_told_by_its_channels(channels: int, purpose: str, tmp_path: Path, scene: Any) -> None:
    folder = write(tmp_path / "it", "StableDiffusionPipeline", SD, {"in_channels": channels})
    with pytest.raises(ParameterError, match=f"its UNet takes {channels} channels, for {purpose}"):
        resolve(Recipe(prompt="a", image=scene.image, checkpoint=str(folder)))


LDM, VAE = "model.diffusion_model.", {"first_stage_model.decoder.conv_in.weight": [4, 4]}
FILES: dict[str, tuple[dict[str, list[int]], str, str]] = {
    "SD 1": ({f"{LDM}input_blocks.0.0.weight": [320, 4, 3, 3], "cond_stage_model.transformer.x": [1], **VAE}, "sd15", ""),
    "SD 1 inpainting": (
        {f"{LDM}input_blocks.0.0.weight": [320, 9, 3, 3], "cond_stage_model.transformer.x": [1], **VAE},
        "sd15",
        "",
    ),
    "InstructPix2Pix": (
        {f"{LDM}input_blocks.0.0.weight": [320, 8, 3, 3], "cond_stage_model.transformer.x": [1], **VAE},
        "edit",
        "",
    ),
    "SD 2": ({f"{LDM}input_blocks.0.0.weight": [320, 4, 3, 3], "cond_stage_model.model.x": [1], **VAE}, "sd15", ""),
    "SDXL": ({f"{LDM}input_blocks.0.0.weight": [320, 4, 3, 3], "conditioner.embedders.1.model.x": [1], **VAE}, "sdxl", ""),
    "refiner": (
        {f"{LDM}input_blocks.0.0.weight": [384, 4, 3, 3], "conditioner.embedders.0.model.x": [1], **VAE},
        "sdxl-refiner",
        "",
    ),
    "x4": ({f"{LDM}input_blocks.0.0.weight": [256, 7, 3, 3], "cond_stage_model.model.x": [1], **VAE}, "x4-upscaler", ""),
    "SD 3": ({f"{LDM}joint_blocks.0.x_block.attn.qkv.weight": [1, 1], **VAE}, "", "Stable Diffusion 3"),
    "Flux": ({"double_blocks.0.img_attn.qkv.weight": [1, 1]}, "", "Flux"),
    "Flux for ComfyUI": ({f"{LDM}double_blocks.0.img_attn.qkv.weight": [1, 1], **VAE}, "", "Flux"),
    "Flux 2 Klein": (
        {"single_stream_modulation.lin.weight": [9, 3], "txt_in.weight": [3, 7680]},
        "",
        "a Flux 2 Klein checkpoint",
    ),
    "Flux 2 dev": ({"single_stream_modulation.lin.weight": [9, 3], "txt_in.weight": [6, 15360]}, "", "a Flux 2 checkpoint"),
    "Flux 3": ({"early_stream_modulations.image.lin.weight": [9, 3]}, "", "a Flux 3 checkpoint"),
    "Flux Fill": ({"double_blocks.0.img_attn.qkv.weight": [1, 1], "img_in.weight": [3, 384]}, "", "a Flux Fill checkpoint"),
    "Chroma": (
        {"distilled_guidance_layer.in_proj.bias": [3], "double_blocks.0.img_attn.qkv.weight": [1, 1]},
        "",
        "a Chroma checkpoint",
    ),
    "Qwen-Image": ({"transformer_blocks.0.img_mod.1.weight": [1, 1], "txt_norm.weight": [3]}, "", "a Qwen-Image checkpoint"),
    "Qwen-Image for ComfyUI": (
        {f"{LDM}transformer_blocks.0.img_mod.1.weight": [1, 1], f"{LDM}txt_norm.weight": [3]},
        "",
        "a Qwen-Image checkpoint",
    ),
    "Qwen-Image 2.1": ({"txt_in.text_norm.weight": [3]}, "", "a Qwen-Image 2.1 checkpoint"),
    "Z-Image": ({f"{LDM}layers.0.adaLN_modulation.0.weight": [1, 1], "cap_embedder.0.weight": [3]}, "", "a Z-Image checkpoint"),
    "ControlNet of Z-Image": ({"control_layers.0.adaLN_modulation.0.weight": [1, 1]}, "", "a ControlNet"),
    "Wan": ({"head.modulation": [1, 2, 3], "blocks.0.cross_attn.k.weight": [1, 1]}, "", "a Wan video checkpoint"),
    "LoRA": ({"lora_unet_mid_block_x.lora_down.weight": [4, 8], "lora_unet_mid_block_x.lora_up.weight": [8, 4]}, "", "a LoRA"),
    "VAE": ({"decoder.up.0.x": [1], "encoder.down.0.x": [1]}, "", "a VAE"),
    "ControlNet": (
        {"control_model.input_blocks.0.0.weight": [320, 4, 3, 3], "control_model.zero_convs.0.0.weight": [1]},
        "",
        "a ControlNet",
    ),
    "UNet only": ({f"{LDM}input_blocks.0.0.weight": [320, 4, 3, 3]}, "", "without a VAE"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_single_file_is_told_by_its_keys(kind: str, tmp_path: Path, scene: Any) -> None:
    shapes, family, words = FILES[kind]
    file = tmp_path / "it.safetensors"
    save_file({key: torch.zeros(shape) for key, shape in shapes.items()}, file)
    found = recognise(str(file))
    if kind in ("VAE", "UNet only"):
        assert found is None
        with pytest.raises(CheckpointError, match="is no whole checkpoint: it has no"):
            locate(str(file))
        return
    assert found is not None and model_of(found) == family and words in found.what
    if family and "inpainting" not in kind:
        assert resolve(Recipe(prompt="a", image=scene.image, checkpoint=str(file))).model == family
    asked = Recipe(prompt="a", image=scene.image, model="sd15", checkpoint=str(file))
    if kind in ("SD 1", "SD 2"):
        assert resolve(asked).checkpoint == str(file)
        return
    with pytest.raises(ParameterError) as caught:
        resolve(asked)
    expected = {
        "LoRA": f"Give it as `--lora {file}`.",
        "ControlNet": "`--controlnet`",
        "SDXL": f"--model sdxl --checkpoint {file}",
    }
    assert expected.get(kind, "") in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 40, struct.pack("<Q", 4) + b"null", struct.pack("<Q", 6) + b'{"a":1}', b"x" * 9]
)
def test_what_is_no_weights_file_is_left_to_the_loader(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "it.safetensors").write_bytes(content)
    assert recognise(str(tmp_path / "it.safetensors")) is None
    for word in ("a\0b", "~nobody-here/x", "x" * 5000, "artist/style", str(tmp_path / "no")):
        assert recognise(word) is None


@pytest.mark.parametrize(
    ("key", "model"),
    [
        ("double_blocks.0.a", "flux"),
        ("joint_blocks.0.a", "stable-diffusion-3"),
        ("distilled_guidance_layer.in_proj.bias", "chroma"),
        ("transformer_blocks.0.img_mod.1.weight", "qwenimage"),
        ("layers.0.adaLN_modulation.0.weight", "z-image"),
    ],
)
def test_a_single_file_of_a_family_that_is_read_in_another_layout_says_so(key: str, model: str, tmp_path: Path) -> None:
    file = tmp_path / "it.safetensors"
    save_file({key: torch.zeros(1, 1)}, file)
    asked = Recipe(prompt="a", model=model, checkpoint=str(file))
    for ask in (lambda: preset_of(str(file)), lambda: resolve(asked)):
        with pytest.raises(
            ParameterError, match=f"A single file of it is not read here.*`--model {model} --checkpoint ORG/NAME`"
        ) as caught:
            ask()
        assert "This version redraws" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["WanPipeline", "WanVideoToVideoPipeline", "StableVideoDiffusionPipeline", "LTXPipeline", "AnimateDiffPipeline"]
)
def test_who_asks_for_video_is_told_that_none_is_made_yet(name: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "it", name, {}, {})
    with pytest.raises(ParameterError, match=rf"It is an? {name}\. Video is not made here yet\. This version redraws with: sd15"):
        preset_of(str(folder))


def test_ids_that_are_known_by_heart_need_no_hub(scene: Any) -> None:
    for word, kind in WELL_KNOWN.items():
        classes = {key: one.saved_as or tuple(one.pipelines.values()) for key, one in FAMILIES.items() if not one.known_by_parts}
        by_class = (key for key, names in classes.items() if kind.startswith(names))
        family = kind if kind in FAMILIES else next(by_class, "")
        if family:
            preset = preset_of(word)
            own = next((name for name, one in PRESETS.items() if one.hub_checkpoint == word), name_for(family))
            assert preset.family == family and preset.name == own
            continue
        with pytest.raises(ParameterError, match=f"{kind}. ((Video is not made|Nearest to it is `).*)?This version redraws with"):
            preset_of(word)
        with pytest.raises(ParameterError, match=f"it is an? {kind}"):
            resolve(Recipe(prompt="a", image=scene.image, checkpoint=word))
    other = Recipe(prompt="a", image=scene.image, model="sd15", checkpoint="stabilityai/stable-diffusion-xl-base-1.0")
    with pytest.raises(ParameterError, match=r"Write `--model sdxl --checkpoint stabilityai/stable-diffusion-xl-base-1\.0`"):
        resolve(other)
    with pytest.raises(ParameterError, match="`--model sd15 --checkpoint artist/style` for Stable Diffusion v1"):
        preset_of("artist/style")


def test_another_family_on_the_hub_is_named_before_its_weights_are_fetched(hub: Hub, tmp_path: Path) -> None:
    folder = write(tmp_path / "it", "HiDreamImagePipeline", FLUX, {})
    (folder / "transformer").mkdir()
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").write_bytes(b"x" * 1000)
    hub.add("artist/hidream", folder)
    with pytest.raises(CheckpointError, match=r"^artist/hidream is a HiDreamImagePipeline\. This version redraws with"):
        locate("artist/hidream")
    assert hub.fetched(".safetensors") == []


def test_a_supported_family_on_the_hub_is_named_before_it_is_loaded(hub: Hub, tmp_path: Path, scene: Any) -> None:
    hub.add("artist/xl", tiny.write("sdxl", tmp_path))
    session = Session("cpu")
    with pytest.raises(ParameterError, match="Write `--model sdxl --checkpoint artist/xl`"):
        session.run(Recipe(prompt="a", image=scene.image, num_inference_steps=2, checkpoint="artist/xl"))
    assert session.with_pipelines(lambda pipelines: pipelines.table()) == []


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (2048, "it was trained on Stable Diffusion XL, whose text is 2048 wide, and that of "),
        (768, "it was trained on Stable Diffusion 1, whose text is 768 wide"),
        (None, "it was trained on a model with a transformer, such as Flux"),
    ],
)
def test_a_lora_of_another_family_is_named_before_the_checkpoint_is_loaded(width: int | None, line: str, tmp_path: Path) -> None:
    key = "double_blocks_0_img_attn_proj" if width is None else "down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    file = tmp_path / "style.safetensors"
    tensors = {"lora_down.weight": torch.zeros(4, width or 8), "lora_up.weight": torch.zeros(8, 4)}
    save_file({f"lora_unet_{key}.{end}": tensor for end, tensor in tensors.items()}, file)
    base = tiny.write("sdxl", tmp_path)
    with pytest.raises(CheckpointError, match=line):
        locate(lora.joined_text(str(base), lora.read(str(file))))
    with pytest.raises(CheckpointError, match=r"sd15 is the small checkpoint in this package\. Give full-size weights"):
        locate(lora.joined_text("sd15", lora.read(str(file))))


def test_a_controlnet_of_another_base_is_named_before_either_is_loaded(tmp_path: Path, scene: Any) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    config = {
        "_class_name": "ControlNetModel",
        "cross_attention_dim": 2048,
        "in_channels": 4,
        "block_out_channels": [320, 640, 1280],
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"conv_in.weight": torch.zeros(1)}, folder / "diffusion_pytorch_model.safetensors")
    session = Session("cpu")
    asked = Recipe(prompt="a", image=scene.image, control_image=scene.image, controlnet=str(folder), num_inference_steps=2)
    with pytest.raises(CheckpointError, match=r"made for another family than sd15: its `cross_attention_dim` is 2048, not 96"):
        session.run(asked)
    assert session.with_pipelines(lambda pipelines: pipelines.table()) == []
    index = write(tmp_path / "whole", "StableDiffusionPipeline", {}, {})
    with pytest.raises(CheckpointError, match="whole is a whole pipeline, not a ControlNet"):
        session.run(asked.replace(controlnet=str(index)))
