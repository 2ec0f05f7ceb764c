"""Graphs of ComfyUI: the picture that was saved, all its passes, and what zeroes a prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import strangers

from nbdiffuse import read, resolve
from nbdiffuse.cells.chains import parse_chain
from nbdiffuse.cells.from_file import ParsedFile
from nbdiffuse.metadata import comfyui
from nbdiffuse.recipes import prompt_loras
from nbdiffuse.recipes.chain import Chain
from nbdiffuse.recipes.lora import text_of
from nbdiffuse.recipes.resolve import resolve_chain


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def sampler(seed: int, latent: str, **more: Any) -> dict[str, Any]:
    usual = {"seed": seed, "steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    links = {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": [latent, 0]}
    return node("KSampler", **{**usual, **links, **more})


def saving(latent: str, number: int = 8, kind: str = "SaveImage", prefix: str = "ComfyUI") -> dict[str, Any]:
    decoded = node("VAEDecode", samples=[latent, 0], vae=["4", 2])
    return {str(number): decoded, str(number + 1): node(kind, images=[str(number), 0], filename_prefix=prefix)}


BASE = {
    "4": node("CheckpointLoaderSimple", ckpt_name="v1-5.safetensors"),
    "5": node("EmptyLatentImage", width=512, height=512, batch_size=1),
    "6": node("CLIPTextEncode", text="a red boat", clip=["4", 1]),
    "7": node("CLIPTextEncode", text="fog", clip=["4", 1]),
}
ONE = {**BASE, "3": sampler(42, "5"), **saving("3")}
TWO = {
    **BASE,
    "3": sampler(42, "5"),
    "10": node("LatentUpscale", samples=["3", 0], width=1024, height=768),
    "11": sampler(7, "10", denoise=0.5, cfg=6.0),
    **saving("11"),
}


def reading_of(tmp_path: Path, graph: dict[str, Any], name: str = "ComfyUI_00001_.png") -> ParsedFile:
    return read(strangers.png(tmp_path / name, prompt=json.dumps(graph), workflow=json.dumps({"nodes": [], "links": []})))


def test_both_passes_become_a_chain(tmp_path: Path) -> None:
    reading = reading_of(tmp_path, TWO)
    [first], second = reading.earlier, reading.recipe
    assert (first.seed, first.strength, first.width, first.height) == (42, None, 512, 512)
    assert (second.seed, second.strength, second.guidance_scale) == (7, 0.5, 6)
    # All twenty steps of the second pass are run, as ComfyUI does.
    assert (second.num_inference_steps, second.width, second.height) == (40, 1024, 768)
    assert not reading.starts_from_picture and reading.missing == ()
    head, _, body = reading.cell().partition("\n")
    steps = parse_chain(head.removeprefix("%%chain"), body).steps
    assert [step["prompt"] for step in steps] == ["a red boat"] * 2 and steps[1]["strength"] == 0.5
    assert len(resolve_chain(Chain((first, second)))) == 2
    assert len([line for line in reading.left_out if "v1-5" in line]) == 1


SCALED: dict[str, tuple[dict[str, Any], tuple[int | None, int | None]]] = {
    "by a factor": ({"10": node("LatentUpscaleBy", samples=["3", 0], scale_by=1.5)}, (768, 768)),
    "not at all": ({"10": node("Reroute", samples=["3", 0])}, (512, 512)),
    "as pixels": (
        {
            "20": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
            "21": node("ImageScale", image=["20", 0], width=960, height=640, crop="disabled"),
            "10": node("VAEEncode", pixels=["21", 0], vae=["4", 2]),
        },
        (960, 640),
    ),
    "by a model, then to a size": (
        {
            "20": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
            "22": node("UpscaleModelLoader", model_name="4x.pth"),
            "23": node("ImageUpscaleWithModel", image=["20", 0], upscale_model=["22", 0]),
            "21": node("ImageScale", image=["23", 0], width=1024, height=1024),
            "10": node("VAEEncode", pixels=["21", 0], vae=["4", 2]),
        },
        (1024, 1024),
    ),
}


@pytest.mark.parametrize("way", SCALED)
def test_the_size_of_the_second_pass_is_what_was_made_of_the_first(tmp_path: Path, way: str) -> None:
    between, size = SCALED[way]
    graph = {key: value for key, value in TWO.items() if key != "10"} | between
    reading = reading_of(tmp_path, graph)
    assert len(reading.earlier) == 1 and (reading.recipe.width, reading.recipe.height) == size


def test_a_factor_that_no_node_says_is_named(tmp_path: Path) -> None:
    between = {key: value for key, value in SCALED["by a model, then to a size"][0].items() if key != "21"}
    between["10"] = node("VAEEncode", pixels=["23", 0], vae=["4", 2])
    reading = reading_of(tmp_path, {**TWO, **between})
    assert any("ImageUpscaleWithModel" in line and "does not say" in line for line in reading.left_out)


def test_three_passes_and_a_picture_to_begin_with(tmp_path: Path) -> None:
    graph = {
        **TWO,
        "30": node("LoadImage", image="photo.png"),
        "5": node("VAEEncode", pixels=["30", 0], vae=["4", 2]),
        "3": sampler(42, "5", denoise=0.8),
        "12": sampler(9, "11", denoise=0.25),
        **saving("12"),
    }
    reading = reading_of(tmp_path, graph)
    assert [step.seed for step in (*reading.earlier, reading.recipe)] == [42, 7, 9]
    assert [step.strength for step in (*reading.earlier, reading.recipe)] == [0.8, 0.5, 0.25]
    assert reading.missing == ("image",) and reading.cell().startswith("%%chain initial_image")
    assert any("photo.png" in line for line in reading.left_out)


def test_a_refiner_that_goes_on_from_a_step_is_a_pass_of_that_strength(tmp_path: Path) -> None:
    advanced = {"add_noise": "enable", "noise_seed": 5, "steps": 25, "cfg": 8.0, "sampler_name": "euler", "scheduler": "normal"}
    links = {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0]}
    graph = {
        **BASE,
        "4": node("CheckpointLoaderSimple", ckpt_name="sd_xl_base_1.0.safetensors"),
        "3": node("KSamplerAdvanced", **advanced, **links, latent_image=["5", 0], start_at_step=0, end_at_step=20),
        "40": node("CheckpointLoaderSimple", ckpt_name="sd_xl_refiner_1.0.safetensors"),
        "11": node(
            "KSamplerAdvanced",
            **advanced,
            **{**links, "model": ["40", 0]},
            latent_image=["3", 0],
            start_at_step=20,
            end_at_step=10000,
        ),
        **saving("11"),
    }
    reading = reading_of(tmp_path, graph)
    assert [step.model for step in (*reading.earlier, reading.recipe)] == ["sdxl", "sdxl-refiner"]
    assert reading.recipe.strength == pytest.approx(0.2)
    assert any("end_at_step: 20" in line for line in reading.left_out)
    assert any("start_at_step: 20" in line and "noise of its own" in line for line in reading.left_out)


def test_zeroed_conditioning_is_no_prompt(tmp_path: Path) -> None:
    zeroed = node("ConditioningZeroOut", conditioning=["6", 0])
    reading = reading_of(tmp_path, {**ONE, "60": zeroed, "3": sampler(42, "5", negative=["60", 0])})
    assert reading.recipe.negative_prompt is None and reading.recipe.prompt == "a red boat"
    assert any("ConditioningZeroOut" in line for line in reading.left_out)


def test_the_saved_picture_is_read_and_not_a_preview(tmp_path: Path) -> None:
    preview = {"20": sampler(99, "5"), **saving("20", 21, "PreviewImage")}
    for graph in ({**preview, **ONE}, {**ONE, **preview}):
        reading = reading_of(tmp_path, graph)
        assert reading.recipe.seed == 42 and not any("99" in line for line in reading.left_out)
    assert reading_of(tmp_path, {**BASE, **preview}).recipe.seed == 99


def test_of_several_saved_pictures_the_name_tells(tmp_path: Path) -> None:
    graph = {**ONE, "20": sampler(99, "5"), **saving("20", 21, prefix="out/second")}
    assert reading_of(tmp_path, graph, "second_00007_.png").recipe.seed == 99
    assert reading_of(tmp_path, graph, "ComfyUI_00007_.png").recipe.seed == 42
    assert any("saves 2 pictures" in line for line in reading_of(tmp_path, graph, "holiday.png").left_out)


def test_a_draft_that_is_saved_beside_its_second_pass_is_no_picture_of_its_own(tmp_path: Path) -> None:
    reading = reading_of(tmp_path, {**saving("3", 31), **TWO})
    assert reading.recipe.seed == 7 and len(reading.earlier) == 1


def test_the_two_texts_of_sdxl_reach_the_encoders_that_they_are_for(tmp_path: Path) -> None:
    size = {"width": 1024, "height": 1024, "crop_w": 0, "crop_h": 0, "target_width": 1024, "target_height": 1024}
    graph = {
        **ONE,
        "6": node("CLIPTextEncodeSDXL", text_g="oil", text_l="a red boat", clip=["4", 1], **size),
        "7": node("CLIPTextEncodeSDXL", text_g="fog", text_l="fog", clip=["4", 1], **size),
    }
    recipe = reading_of(tmp_path, graph).recipe
    assert (recipe.model, recipe.prompt, recipe.get("prompt_2")) == ("sdxl", "a red boat", "oil")
    assert (recipe.negative_prompt, recipe.get("negative_prompt_2")) == ("fog", None)


def test_a_node_that_hands_both_prompts_through_does_not_mix_them(tmp_path: Path) -> None:
    net = node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], control_net=["51", 0], image=["52", 0])
    graph = {**ONE, "50": net, "51": node("ControlNetLoader"), "52": node("LoadImage", image="pose.png")}
    graph["3"] = sampler(42, "5", positive=["50", 0], negative=["50", 1])
    reading = reading_of(tmp_path, graph)
    assert (reading.recipe.prompt, reading.recipe.negative_prompt) == ("a red boat", "fog")
    assert any("ControlNetApplyAdvanced" in line for line in reading.left_out)


def test_a_sampler_in_parts_is_read(tmp_path: Path) -> None:
    graph = {
        **BASE,
        "30": node("RandomNoise", noise_seed=42),
        "31": node("KSamplerSelect", sampler_name="euler_ancestral"),
        "32": node("BasicScheduler", scheduler="normal", steps=12, denoise=1.0, model=["4", 0]),
        "33": node("CFGGuider", cfg=3.5, model=["4", 0], positive=["6", 0], negative=["7", 0]),
        "3": node(
            "SamplerCustomAdvanced", noise=["30", 0], guider=["33", 0], sampler=["31", 0], sigmas=["32", 0], latent_image=["5", 0]
        ),
        **saving("3"),
    }
    recipe = reading_of(tmp_path, graph).recipe
    assert (recipe.seed, recipe.scheduler, recipe.num_inference_steps) == (42, "EulerAncestralDiscrete", 12)
    assert (recipe.guidance_scale, recipe.prompt, recipe.negative_prompt) == (3.5, "a red boat", "fog")


def test_a_value_that_no_node_says_plainly_is_named(tmp_path: Path) -> None:
    graph = {**ONE, "70": node("MathExpression", expression="a+1"), "3": sampler(42, "5", steps=["70", 0])}
    reading = reading_of(tmp_path, graph)
    assert reading.recipe.num_inference_steps is None
    assert any("steps" in line and "MathExpression" in line for line in reading.left_out)


def test_texts_are_joined_where_a_node_joins_them(tmp_path: Path) -> None:
    joint = node("StringConcatenate", string_a="a red", string_b="boat", delimiter=" ")
    encode = node("CLIPTextEncode", text=["71", 0], clip=["4", 1])
    assert reading_of(tmp_path, {**ONE, "71": joint, "6": encode}).recipe.prompt == "a red boat"


def test_a_lora_is_carried_over_where_its_file_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lora = node(
        "LoraLoader", lora_name="styles\\ink.safetensors", strength_model=0.7, strength_clip=1.0, model=["4", 0], clip=["4", 1]
    )
    graph = {**ONE, "80": lora, "3": sampler(42, "5", model=["80", 0])}
    assert any("ink.safetensors:0.7" in line for line in reading_of(tmp_path, graph).left_out)
    (tmp_path / "ink.safetensors").touch()
    monkeypatch.setenv(prompt_loras.FOLDER, str(tmp_path))
    assert text_of(reading_of(tmp_path, graph).recipe.loras) == f"{tmp_path / 'ink.safetensors'}:0.7:text_encoder=1"


def test_nodes_of_others_are_read_as_far_as_they_say_it_plainly(tmp_path: Path) -> None:
    loader = node(
        "Efficient Loader",
        ckpt_name={"content": "dreamXL.safetensors"},
        positive="a red boat",
        negative="fog",
        empty_latent_width=832,
        empty_latent_height=1216,
    )
    stack = node(
        "Power Lora Loader", model=["4", 0], lora_1={"on": True, "lora": "ink.safetensors", "strength": 0.4}, lora_2={"on": False}
    )
    links = {"positive": ["4", 1], "negative": ["4", 2], "latent_image": ["4", 3], "model": ["80", 0]}
    graph = {"4": loader, "80": stack, "3": {**sampler(42, "4", **links), "class_type": "KSampler (Efficient)"}, **saving("3")}
    reading = reading_of(tmp_path, graph)
    recipe = reading.recipe
    assert (recipe.model, recipe.prompt, recipe.negative_prompt) == ("sdxl", "a red boat", "fog")
    assert (recipe.width, recipe.height) == (832, 1216)
    assert any("ink.safetensors:0.4" in line for line in reading.left_out)


def test_a_node_that_goes_over_faces_is_no_pass_and_is_named(tmp_path: Path) -> None:
    usual = {"seed": 5, "steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 0.4}
    detailer = node("FaceDetailer", image=["8", 0], model=["4", 0], positive=["6", 0], negative=["7", 0], **usual)
    reading = reading_of(tmp_path, {**ONE, "90": detailer, "9": node("SaveImage", images=["90", 0])})
    assert reading.recipe.seed == 42 and reading.earlier == ()
    assert any("FaceDetailer" in line for line in reading.left_out)


def test_another_decoder_and_a_skipped_layer_are_named(tmp_path: Path) -> None:
    graph = {
        **ONE,
        "91": node("VAELoader", vae_name="vae-ft-mse.safetensors"),
        "92": node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["4", 1]),
        "6": node("CLIPTextEncode", text="a red boat", clip=["92", 0]),
        "8": node("VAEDecode", samples=["3", 0], vae=["91", 0]),
    }
    left = reading_of(tmp_path, graph).left_out
    for words in ("VAELoader vae-ft-mse.safetensors", "CLIPSetLastLayer -2"):
        assert any(words in line for line in left)


def test_an_unnamed_checkpoint_is_told_by_the_size_of_the_first_pass(tmp_path: Path) -> None:
    graph = {**TWO, "4": node("CheckpointLoaderSimple", ckpt_name="mine.safetensors")}
    graph["5"] = node("EmptyLatentImage", width=1024, height=1024, batch_size=1)
    reading = reading_of(tmp_path, graph)
    assert [step.model for step in (*reading.earlier, reading.recipe)] == ["sdxl", "sdxl"]
    assert any("1024x1024" in line for line in reading.left_out)


@pytest.mark.parametrize("link", ["3", "8", "9", "6"])
def test_a_graph_that_runs_in_circles_is_read_or_refused(link: str) -> None:
    for key in ONE:
        for name in ONE[key]["inputs"]:
            graph = {**ONE, key: node(ONE[key]["class_type"], **{**ONE[key]["inputs"], name: [link, 0]})}
            try:
                comfyui.parse(json.dumps(graph))
            except ValueError as error:
                assert "\n" not in str(error)


def test_a_pass_completes(tmp_path: Path) -> None:
    assert resolve(reading_of(tmp_path, ONE).recipe).seed == 42
