"""Every family of the guide runs through one engine, with the pixels of diffusers' own call."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from PIL import Image

from nbdiffuse import Picture, Recipe, Session, embedded, resolve
from nbdiffuse.errors import CheckpointError, ParameterError
from nbdiffuse.recipes import controlnets

PROMPT = "Astronaut in a jungle, cold color palette, muted colors, detailed, 8k"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("families")
    for name in tiny.MAKERS:
        tiny.write(name, directory)
    return directory


def raw_images(directory: Path, pipeline: str, components: dict[str, Any], **call: Any) -> list[Image.Image]:
    """Make the call as a person would by hand."""
    import diffusers

    made = getattr(diffusers, pipeline).from_pretrained(directory, **components)
    made.set_progress_bar_config(disable=True)
    images: list[Image.Image] = made(PROMPT, generator=torch.Generator("cpu").manual_seed(7), **call).images
    return images


CASES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "sdxl txt2img": ("sdxl", "StableDiffusionXLPipeline", {"width": 64, "height": 96}, {}),
    "sdxl img2img": ("sdxl", "StableDiffusionXLImg2ImgPipeline", {"strength": 0.5}, {}),
    "sdxl two prompts": ("sdxl", "StableDiffusionXLImg2ImgPipeline", {"prompt_2": "a cat", "negative_prompt_2": "snow"}, {}),
    "refiner": ("sdxl-refiner", "StableDiffusionXLImg2ImgPipeline", {"strength": 0.5, "aesthetic_score": 7.5}, {}),
    "refiner defaults": ("sdxl-refiner", "StableDiffusionXLImg2ImgPipeline", {"negative_prompt": "jungle"}, {}),
    "kandinsky txt2img": (
        "kandinsky22",
        "KandinskyV22CombinedPipeline",
        {"width": 128, "height": 64, "prior_num_inference_steps": 3},
        {},
    ),
    "kandinsky img2img": (
        "kandinsky22",
        "KandinskyV22Img2ImgCombinedPipeline",
        {"strength": 0.6, "prior_num_inference_steps": 3, "negative_prompt": "ugly"},
        {"width": 128, "height": 128},
    ),
    "x2": ("x2-upscaler", "StableDiffusionLatentUpscalePipeline", {"guidance_scale": 3.0}, {}),
    "x4": ("x4-upscaler", "StableDiffusionUpscalePipeline", {"noise_level": 50}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_pixels_equal_the_raw_call(case: str, checkpoints: Path, session: Session, scene: Any) -> None:
    model, pipeline, values, sizes = CASES[case]
    given = {} if "txt2img" in case else {"image": scene.image}
    steps = {"num_inference_steps": 4}
    directory = checkpoints / model
    mine = session.run(Recipe(prompt=PROMPT, model=model, checkpoint=str(directory), seed=7, **given, **steps, **values))
    theirs = raw_images(directory, pipeline, {}, **given, **steps, **values, **sizes)
    assert mine.image.tobytes() == theirs[0].tobytes()
    assert mine.image.size == (mine.recipe.width, mine.recipe.height)


@pytest.mark.parametrize("case", ["sdxl txt2img", "refiner", "kandinsky img2img", "x2", "x4"])
def test_in_another_dtype_too_pixels_equal_the_raw_call(case: str, checkpoints: Path, scene: Any) -> None:
    own = Session()
    own.with_pipelines(lambda pipelines: pipelines.set_optimization("dtype", "bfloat16"))
    model, pipeline, values, sizes = CASES[case]
    given = {} if "txt2img" in case else {"image": scene.image}
    arguments = {**given, "num_inference_steps": 2, **values}
    directory = checkpoints / model
    mine = own.run(Recipe(prompt=PROMPT, model=model, checkpoint=str(directory), seed=7, **arguments))
    theirs = raw_images(directory, pipeline, {"dtype": torch.bfloat16}, **arguments, **sizes)
    assert mine.image.tobytes() == theirs[0].tobytes()


def noted(calls: list[str], original: Any) -> Any:
    """Return a method that notes each call and makes it."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(type(self).__name__)
        return original(self, *args, **kwargs)

    return call


WARM = [case for case in CASES if "txt2img" not in case and case != "refiner defaults"]


@pytest.mark.parametrize("case", WARM)
def test_another_guidance_scale_encodes_no_text_and_no_picture_again(
    case: str, checkpoints: Path, session: Session, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import AutoencoderKL, VQModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    model, pipeline, values, sizes = CASES[case]
    given = {"image": scene.image, "num_inference_steps": 4, **values}
    recipe = Recipe(prompt=PROMPT, model=model, checkpoint=str(checkpoints / model), seed=7, **given)
    session.run(recipe.replace(guidance_scale=3.5))
    calls: list[str] = []
    for owner, name in (
        (CLIPTextModel, "forward"),
        (CLIPTextModelWithProjection, "forward"),
        (AutoencoderKL, "_encode"),
        (VQModel, "encode"),
    ):
        monkeypatch.setattr(owner, name, noted(calls, getattr(owner, name)))
    mine = session.run(recipe.replace(guidance_scale=4.5))
    assert calls == []
    theirs = raw_images(checkpoints / model, pipeline, {}, **{**given, "guidance_scale": 4.5}, **sizes)
    assert calls, "the count counts"
    assert mine.image.tobytes() == theirs[0].tobytes()


def control_recipe(checkpoints: Path, monkeypatch: pytest.MonkeyPatch, scene: Any, **values: Any) -> Recipe:
    net = controlnets.CONTROLNETS["depth"]
    origin = dataclasses.replace(net.embedded, checkpoint=str(checkpoints / "controlnet-depth"))
    monkeypatch.setattr(controlnets, "CONTROLNETS", {"depth": dataclasses.replace(net, embedded=origin)})
    fields = {"controlnet": "depth", "control_image": scene.depth, "num_inference_steps": 4, "seed": 7, **values}
    return Recipe(prompt=PROMPT, **fields)


@pytest.mark.parametrize("way", ["txt2img", "img2img"])
@pytest.mark.parametrize("values", [{}, {"controlnet_conditioning_scale": 0.3, "control_guidance_end": 0.5}], ids=str)
def test_a_controlnet_call_equals_the_raw_one(
    way: str, values: dict[str, Any], checkpoints: Path, session: Session, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import ControlNetModel

    image = {"image": scene.image} if way == "img2img" else {}
    mine = session.run(control_recipe(checkpoints, monkeypatch, scene, **image, **values))
    control = {"control_image" if image else "image": scene.depth.convert("RGB")}
    pipeline = "StableDiffusionControlNetImg2ImgPipeline" if image else "StableDiffusionControlNetPipeline"
    components = {"controlnet": ControlNetModel.from_pretrained(checkpoints / "controlnet-depth")}
    theirs = raw_images(embedded.path("sd15"), pipeline, components, num_inference_steps=4, **image, **control, **values)
    assert mine.image.tobytes() == theirs[0].tobytes()
    assert "controlnet" in mine.fingerprint


@pytest.mark.parametrize("way", ["txt2img", "img2img"])
def test_two_controlnets_act_together_as_in_the_raw_call(
    way: str, checkpoints: Path, session: Session, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import ControlNetModel

    image, other = ({"image": scene.image} if way == "img2img" else {}), scene.depth.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    directory = checkpoints / "controlnet-depth"
    second = {"controlnet_2": str(directory), "control_image_2": other, "controlnet_conditioning_scale_2": 0.4}
    recipe = control_recipe(checkpoints, monkeypatch, scene, **image, **second, control_guidance_end_2=0.5)
    mine = session.run(recipe)
    scale = 0.8 if image else 1.0
    theirs = raw_images(
        embedded.path("sd15"),
        "StableDiffusionControlNetImg2ImgPipeline" if image else "StableDiffusionControlNetPipeline",
        {"controlnet": [ControlNetModel.from_pretrained(directory), ControlNetModel.from_pretrained(directory)]},
        num_inference_steps=4,
        controlnet_conditioning_scale=[scale, 0.4],
        control_guidance_end=[1.0, 0.5],
        **image,
        **{"control_image" if image else "image": [scene.depth.convert("RGB"), other.convert("RGB")]},
    )
    assert mine.image.tobytes() == theirs[0].tobytes()
    assert mine.image.tobytes() != session.run(recipe.replace(controlnet_conditioning_scale_2=0.8)).image.tobytes()
    assert {"controlnet", "controlnet_2"} <= set(mine.fingerprint)


def test_any_controlnet_is_reached_by_its_directory(checkpoints: Path, session: Session, scene: Any) -> None:
    from diffusers import ControlNetModel

    directory = checkpoints / "controlnet-depth"
    values = {"num_inference_steps": 4, "controlnet_conditioning_scale": 0.3}
    mine = session.run(Recipe(prompt=PROMPT, controlnet=str(directory), control_image=scene.depth, seed=7, **values))
    components = {"controlnet": ControlNetModel.from_pretrained(directory)}
    given = {"image": scene.depth.convert("RGB"), **values}
    theirs = raw_images(embedded.path("sd15"), "StableDiffusionControlNetPipeline", components, **given)
    assert mine.image.tobytes() == theirs[0].tobytes()


def test_a_controlnet_that_does_not_fit_is_one_line(checkpoints: Path, session: Session, scene: Any, tmp_path: Path) -> None:
    from diffusers import ControlNetModel

    config = ControlNetModel.load_config(checkpoints / "controlnet-depth")
    ControlNetModel.from_config(config, cross_attention_dim=64).save_pretrained(tmp_path / "other")
    given = {"prompt": PROMPT, "control_image": scene.depth, "num_inference_steps": 2, "seed": 7}
    for net, line in {
        str(tmp_path / "other"): r"other was made for another family than sd15: its `cross_attention_dim` is 64, not 96\. Give",
        str(embedded.path("sd15")): r"sd15 is a whole pipeline, not a ControlNet\. Give `controlnet` the directory",
        str(embedded.path("depth-estimator")): r"is DepthAnythingForDepthEstimation, not a ControlNet",
    }.items():
        with pytest.raises(CheckpointError, match=line):
            session.run(Recipe(controlnet=net, **given))


def test_inpainting_gives_a_picture_of_its_own_shape_back(session: Session, scene: Any) -> None:
    image, mask = scene.image.resize((128, 64)), scene.mask.resize((128, 64))
    values = {"num_inference_steps": 2, "strength": 1.0, "seed": 7}
    assert session.run(Recipe(prompt=PROMPT, image=image, mask_image=mask, **values)).image.size == (128, 64)


def test_inpainting_without_overlay_is_the_raw_call(session: Session, scene: Any) -> None:
    values = {"num_inference_steps": 4, "strength": 0.8, "seed": 7, "mask_overlay": "none"}
    mine = session.run(Recipe(prompt=PROMPT, image=scene.image, mask_image=scene.mask, **values))
    theirs = raw_images(
        embedded.path("sd15"),
        "StableDiffusionInpaintPipeline",
        {},
        image=scene.image,
        mask_image=scene.mask,
        strength=0.8,
        num_inference_steps=4,
        width=128,
        height=128,
    )
    assert mine.image.tobytes() == theirs[0].tobytes()


def test_upscalers_size_their_result_and_refuse_sizes_between(scene: Any) -> None:
    recipe = Recipe(prompt="a cat", image=scene.image, model="x4-upscaler", seed=1)
    assert (resolve(recipe).width, resolve(recipe).height) == (512, 512)
    assert resolve(recipe.replace(width=256)).height == 256
    with pytest.raises(ParameterError, match=r"`width` must be a multiple of 32 for x4-upscaler, got 200. The nearest is 192"):
        resolve(recipe.replace(width=200))
    with pytest.raises(ParameterError, match=r"`strength` is not taken by x4-upscaler"):
        resolve(recipe.replace(strength=0.5))
    with pytest.raises(ParameterError, match=r"`image` must be given: the x4 upscaler only redraws pictures"):
        resolve(Recipe(prompt="a cat", model="x4-upscaler"))


def test_a_kandinsky_picture_that_is_not_square_stays_upright(checkpoints: Path, session: Session) -> None:
    picture = Image.new("RGB", (256, 128), "red")
    directory = str(checkpoints / "kandinsky22")
    values = {"num_inference_steps": 4, "prior_num_inference_steps": 2, "seed": 1, "width": 128}
    result = session.run(Recipe(prompt="a cat", image=picture, model="kandinsky22", checkpoint=directory, **values))
    assert result.image.size == (128, 64) == (result.recipe.width, result.recipe.height)


def test_a_kandinsky_size_that_is_no_multiple_of_64_is_fitted_before_it_runs() -> None:
    picture = Picture.of(Image.new("RGB", (120, 90)))
    complete = resolve(Recipe(prompt="a cat", image=picture, model="kandinsky22", seed=1))
    assert (complete.width, complete.height) == (64, 64)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"controlnet": "dept", "control_image": "x"},
            r"must be the name of a ControlNet, a hub id or a directory, got 'dept'",
        ),
        ({"controlnet": "depth", "control_image": "x", "model": "kandinsky22"}, r"`controlnet` is not taken by kandinsky22"),
        (
            {"controlnet": "depth", "control_image": "x", "model": "sdxl"},
            r"must be made for sdxl, got 'depth'. Give the hub id or directory of one made for sdxl.",
        ),
        ({"control_image": "x", "model": "sdxl"}, r"`controlnet` must be given with `control_image`. Give the hub id or dir"),
        ({"controlnet": "depth"}, r"`control_image` must be given with `controlnet`"),
        ({"control_guidance_end": 0.5}, r"`controlnet` must be given with `control_guidance_end`. sd15 has: depth"),
        (
            {"controlnet": "depth", "control_image": "x", "control_guidance_start": 0.7, "control_guidance_end": 0.5},
            r"`control_guidance_start` must be below `control_guidance_end`, got 0.7 and 0.5",
        ),
        ({"controlnet_2": "depth", "control_image_2": "x"}, r"`controlnet_2` must follow"),
        ({"controlnet": "depth", "control_image": "x", "controlnet_2": "depth"}, r"`controlnets.2.image` must be given"),
        ({"controlnet": "depth", "control_image": "x", "control_image_2": "x"}, r"`controlnets.2.checkpoint` must be given with"),
        ({"mask_image": "x"}, r"`mask_image` needs an initial picture"),
        ({"noise_level": 20}, r"`noise_level` is not taken by sd15"),
    ],
    ids=str,
)
def test_combinations_that_cannot_be_are_one_line(values: dict[str, Any], line: str, scene: Any) -> None:
    given = {name: scene.image if value == "x" else value for name, value in values.items()}
    with pytest.raises(ParameterError, match=line):
        resolve(Recipe(prompt="a cat", **given))
