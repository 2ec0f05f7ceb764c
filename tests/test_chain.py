"""Chains: each step redraws what the one before made, with the pixels of the guide's calls by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import nbdiffuse
from nbdiffuse import Chain, ChainRun, Recipe, Session, embedded
from nbdiffuse.cells.chains import parse_chain
from nbdiffuse.errors import ImageInputError, ParameterError
from nbdiffuse.images.latents import Latents
from nbdiffuse.metadata import image_files
from nbdiffuse.metadata.provenance import Provenance
from nbdiffuse.runs.latent_transfer import LATENTS
from nbdiffuse.store.store import Store

PROMPT = "Astronaut in a jungle, cold color palette, muted colors, detailed, 8k"


@pytest.fixture
def by_hand() -> Iterator[Callable[..., Any]]:
    """Make one raw call as the guide does and return `.images[0]`."""

    def call(name: str, pipeline: str, prompt: str, **arguments: Any) -> Any:
        import diffusers

        parts = {"controlnet": arguments.pop("controlnet")} if "controlnet" in arguments else {}
        made = getattr(diffusers, pipeline).from_pretrained(embedded.path(name), **parts)
        made.set_progress_bar_config(disable=True)
        generator = torch.Generator("cpu").manual_seed(7)
        return made(prompt, generator=generator, num_inference_steps=4, **arguments).images[0]

    yield call


def step(prompt: str = PROMPT, **values: Any) -> Recipe:
    return Recipe(prompt=prompt, num_inference_steps=4, seed=7, **values)


def test_image_to_image_to_image_stays_in_latents_as_in_the_guide(by_hand: Callable[..., Any], scene: Any) -> None:
    texts = PROMPT, "Astronaut in a jungle, charliebo artstyle", "Astronaut in a jungle, pixelartstyle"
    made = nbdiffuse.run(step(image=scene.image) >> step(texts[1], model="comic") >> step(texts[2], model="pixel-art"))
    img2img = "StableDiffusionImg2ImgPipeline"
    latents = by_hand("sd15", img2img, texts[0], image=scene.image, output_type="latent")
    latents = by_hand("comic", img2img, texts[1], image=latents, output_type="latent")
    last = by_hand("pixel-art", img2img, texts[2], image=latents)
    assert made.arrows == [LATENTS, LATENTS]
    assert made.image.tobytes() == last.tobytes()


def test_text_to_image_to_image_decodes_between_different_vaes_as_in_the_guide(by_hand: Callable[..., Any]) -> None:
    redrawn: dict[str, Any] = {"strength": 0.5, "prior_num_inference_steps": 2}
    made = nbdiffuse.run(step() >> step(model="kandinsky22", **redrawn))
    first = by_hand("sd15", "StableDiffusionPipeline", PROMPT)
    pipeline = "KandinskyV22Img2ImgCombinedPipeline"
    last = by_hand("kandinsky22", pipeline, PROMPT, image=first, width=128, height=128, **redrawn)
    assert made.arrows == ["pixels: kandinsky22 takes pictures"]
    assert made.image.tobytes() == last.tobytes()


def test_image_to_upscaler_to_super_resolution_hands_pictures_to_the_last_step(by_hand: Callable[..., Any], scene: Any) -> None:
    small = scene.image.resize((64, 64))
    made = nbdiffuse.run(step(image=small) >> step(model="x2-upscaler") >> step(model="x4-upscaler"))
    latents = by_hand("sd15", "StableDiffusionImg2ImgPipeline", PROMPT, image=small, output_type="latent")
    # The guide hands latents to the x4 upscaler too, which cannot work: its input is a picture.
    picture = by_hand("x2-upscaler", "StableDiffusionLatentUpscalePipeline", PROMPT, image=latents)
    last = by_hand("x4-upscaler", "StableDiffusionUpscalePipeline", PROMPT, image=picture)
    assert made.arrows == [LATENTS, "pixels: x4-upscaler takes pictures"]
    assert made.image.tobytes() == last.tobytes() and made.image.size == (512, 512)


@pytest.mark.parametrize("handed", ["latent", "pil"])
def test_control_then_restyle_is_the_guides_two_calls(handed: str, by_hand: Callable[..., Any], scene: Any) -> None:
    """A chain hands latents on, where the guide hands a picture, as two cells do."""
    from diffusers import ControlNetModel

    restyle: dict[str, Any] = {"strength": 0.45, "guidance_scale": 10.5, "negative_prompt": "ugly, deformed, disfigured"}
    depth, style = scene.depth.convert("RGB"), "elden ring style astronaut in a jungle"
    first = step(image=scene.image, controlnet="depth", control_image=depth)
    if handed == "latent":
        made = nbdiffuse.run(first >> step(style, model="elden-ring", **restyle)).image
    else:
        made = nbdiffuse.run(step(style, model="elden-ring", image=nbdiffuse.run(first).image, **restyle)).image
    controlled = by_hand(
        "sd15",
        "StableDiffusionControlNetImg2ImgPipeline",
        PROMPT,
        controlnet=ControlNetModel.from_pretrained(embedded.path("controlnet-depth")),
        image=scene.image,
        control_image=depth,
        output_type=handed,
    )
    assert made.tobytes() == by_hand("elden-ring", "StableDiffusionImg2ImgPipeline", style, image=controlled, **restyle).tobytes()


@pytest.mark.quick
def test_a_chain_of_one_step_is_the_run(session: Session) -> None:
    assert nbdiffuse.run(Chain((step(),))).image.tobytes() == session.run(step()).image.tobytes()


def test_a_changed_last_step_runs_alone(session: Session, scene: Any) -> None:
    chain = step(image=scene.image, strength=0.5) >> step("a cat", strength=0.5) >> step("a robot", strength=0.5)
    first = nbdiffuse.run(chain)
    before = session.history[-1]
    second = nbdiffuse.run(chain.replace(3, prompt="a rocket"))
    assert session.history[-2] is before
    assert [a.image.tobytes() == b.image.tobytes() for a, b in zip(first, second, strict=True)] == [True, True, False]


def test_finished_steps_come_from_the_store_in_another_session(scene: Any, tmp_path: Path) -> None:
    chain = step(image=scene.image.resize((64, 64))) >> step(model="x4-upscaler")
    first = ChainRun(chain, Session(), Store(tmp_path)).run()
    other = Session()
    second = ChainRun(chain, other, Store(tmp_path)).run()
    assert second.image.tobytes() == first.image.tobytes() and not other.history


def test_an_interrupted_chain_keeps_its_steps_and_goes_on(scene: Any) -> None:
    from nbdiffuse.errors import Interrupted

    run = ChainRun(step(image=scene.image) >> Recipe(prompt="a cat", num_inference_steps=400, seed=7))

    def stop() -> None:
        if len(run) == 1 and run.progress is not None:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"Stopped in step 2 of 2\. Run it again for the rest"):
        run.run(stop)
    assert len(run) == 1 and run.image == run[0].image


def test_latents_of_another_vae_or_another_size_are_refused(session: Session, scene: Any) -> None:
    made = session.run(step(image=scene.image)).latents
    assert made is not None
    with pytest.raises(ParameterError, match=r"`image` must be a picture for x4-upscaler, got latents"):
        session.run(step(image=made, model="x4-upscaler"))
    with pytest.raises(ParameterError, match=r"`width` must be 128, the size of the latents, got 64"):
        session.run(step(image=made, width=64))
    with pytest.raises(ParameterError, match=r"latents of the VAE that sdxl has, got another's"):
        session.run(step(image=made, model="sdxl"))
    with pytest.raises(ParameterError, match=r"`image` must be a picture for kandinsky22, got latents"):
        session.run(step(image=made, model="kandinsky22"))
    with pytest.raises(ImageInputError, match="latents that this process holds"):
        Latents.at("latents:" + "0" * 64)


def test_every_rule_is_checked_before_the_first_step(session: Session, scene: Any) -> None:
    before = len(session.history)
    with pytest.raises(ParameterError, match=r"^Step 2: `strength` must leave at least one step"):
        nbdiffuse.run(step(image=scene.image) >> Recipe(prompt="a cat", strength=0.1, num_inference_steps=5))
    with pytest.raises(ParameterError, match=r"`image` of step 2 must be what step 1 makes"):
        step() >> step(image=scene.image)
    assert len(session.history) == before


def test_a_chain_survives_json(scene: Any) -> None:
    chain = step(image=scene.image) >> step("a cat", model="comic", strength=0.3)
    assert Chain.from_dict(json.loads(chain.to_json()), Recipe.from_dict) == chain
    with pytest.raises(ParameterError, match="A chain must be a JSON object"):
        Chain.from_dict({"format": 9}, Recipe.from_dict)


BODY = """[sd15 --strength 0.7]
a cat
Negative prompt: ugly

[pixel-art -s 0.4 --seed 9]
a cat, pixelartstyle
[x4-upscaler]
"""


def test_a_cell_says_the_same_chain() -> None:
    cell = parse_chain("start.png --num-inference-steps 8 --out strip", BODY)
    assert cell.out == "strip" and [step["model"] for step in cell.steps] == ["sd15", "pixel-art", "x4-upscaler"]
    assert cell.steps[0]["image"] == "start.png" and "image" not in cell.steps[1]
    assert cell.steps[0]["negative_prompt"] == "ugly" and cell.steps[1]["seed"] == 9
    assert cell.steps[2]["prompt"] == cell.steps[1]["prompt"] == "a cat, pixelartstyle"
    assert {step["num_inference_steps"] for step in cell.steps} == {8}
    assert "image" not in parse_chain("", "[sd15]\na cat").steps[0]


@pytest.mark.parametrize(
    ("line", "body", "message"),
    [
        ("", "a cat", r"must have a line such as `\[sd15"),
        (
            "",
            "[sd15]\na cat\n[comic --strenght 1]\n",
            r"^Step 2: '--strenght' is not an option of %%chain",
        ),
        ("a.png b.png", "[sd15]\na cat", "at most one picture"),
        ("", "[sd15 --guidance-scale 1,,2]\na cat", r"^Step 1: `guidance_scale` must be values between single commas"),
        ("", "[sd15 --out one]\na cat", r"^Step 1: `--out`, `--save` and `--panel` must stand on the first line"),
        ("", "[sd15]\n", "^Step 1: `prompt` must be the body"),
    ],
)
def test_a_mistake_in_a_cell_is_one_line(line: str, body: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        parse_chain(line, body)


def test_the_strip_shows_every_step_and_what_its_arrow_is(scene: Any, tmp_path: Path) -> None:
    run = nbdiffuse.run(step(image=scene.image) >> step("a cat", strength=0.5))
    labels = [cell.label for cell in run.cells()]
    assert len(labels) == 3 and labels[2].endswith("from latents")
    assert run._repr_mimebundle_()["text/plain"] == "chain: 2 of 2 steps"
    run.save(tmp_path / "strip.png")
    assert Image.open(tmp_path / "strip" / "1.png").tobytes() == run[0].image.tobytes()
    told = image_files.read(tmp_path / "strip.png").provenance
    assert told is not None and told.chain == run.chain
    local = run[1].recipe.replace(image=None, checkpoint="/home/ann/weights/styled")
    image_files.write(run.image, tmp_path / "local.png", Provenance(local, chain=run.chain.replace(2, checkpoint="~/b")))
    assert b"home/ann" not in (tmp_path / "local.png").read_bytes()
    assert told.parents == (run[0].latents.view.address,)
