"""A VAE of one's own: the pixels are those of `from_pretrained(..., vae=vae)`, for every layout that people have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import single_file
import torch
from safetensors.torch import save_file

from nbdiffuse import Recipe, Session, embedded, resolve
from nbdiffuse.errors import CheckpointError, ParameterError
from nbdiffuse.recipes.portable import portable
from nbdiffuse.runs.program import script_of
from nbdiffuse.scripts.checking import check

PROMPT = "a fox in snow"
NAMES = ("kl", "tiny", "kl.safetensors", "original.safetensors", "first_stage.safetensors")


def tiny_vae(channels: int = 4) -> Any:
    return diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
        latent_channels=channels,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE like that of sd15 with other weights in each layout, a tiny one, and one for other latents."""
    made = tmp_path_factory.mktemp("vae")
    torch.manual_seed(5)
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(embedded.path("sd15"))
    with torch.no_grad():
        for tensor in pipeline.vae.parameters():
            tensor.mul_(1 + 0.05 * torch.randn_like(tensor))
    pipeline.vae.save_pretrained(made / "kl")
    tiny_vae().save_pretrained(made / "tiny")
    tiny_vae(16).save_pretrained(made / "wide")
    save_file(pipeline.vae.state_dict(), made / "kl.safetensors")
    whole = single_file.state_dict(pipeline)
    ours = {key: tensor for key, tensor in whole.items() if key.startswith("first_stage_model.")}
    save_file(ours, made / "first_stage.safetensors")
    save_file({key.removeprefix("first_stage_model."): tensor for key, tensor in ours.items()}, made / "original.safetensors")
    save_file({"conv_in.weight": torch.zeros(4, 4, 3, 3)}, made / "nothing.safetensors")
    save_file({key: one for key, one in ours.items() if "up.0.block.0" not in key}, made / "less.safetensors")
    (made / "pickle.pt").touch()
    return made


@pytest.fixture(scope="module")
def recipe(scene: Any) -> Recipe:
    return Recipe(prompt=PROMPT, image=scene.image, num_inference_steps=3, seed=7)


def by_hand(scene: Any, folder: Path, name: str, **given: Any) -> bytes:
    kind = diffusers.AutoencoderTiny if name == "tiny" else diffusers.AutoencoderKL
    more = {"vae": kind.from_pretrained(folder / name)} if name else {}
    pipeline = diffusers.StableDiffusionImg2ImgPipeline.from_pretrained(embedded.path("sd15"), **more)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(7)
    return pipeline(PROMPT, image=scene.image, num_inference_steps=3, generator=generator, **given).images[0].tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_pixels_equal_those_of_the_raw_call(name: str, folder: Path, recipe: Recipe, session: Session, scene: Any) -> None:
    made = session.run(recipe.replace(vae=str(folder / name)))
    expected = by_hand(scene, folder, "tiny" if name == "tiny" else "kl")
    assert made.image.tobytes() == expected != by_hand(scene, folder, "")
    assert made.fingerprint["vae"] and Recipe.from_json(made.recipe.to_json()) == made.recipe
    assert repr(check(script_of(made), made.images)) == "same pixels"


@pytest.mark.parametrize("name", ["kl", "tiny"])
@pytest.mark.parametrize("more", [{"image": None, "width": 96, "height": 64}, {"mask_image": True}, {"vae": None}], ids=str)
def test_the_base_and_what_was_encoded_by_it_stay(
    name: str, more: dict[str, Any], folder: Path, recipe: Recipe, session: Session, scene: Any
) -> None:
    given = {key: scene.image.convert("L") if value is True else value for key, value in more.items()}
    before = session.run(recipe.replace(**{**given, "vae": None}))
    own = session.run(recipe.replace(**{"vae": str(folder / name), **given}))
    after = session.run(recipe.replace(**{**given, "vae": None}))
    assert before.image.tobytes() == after.image.tobytes() and before.fingerprint == after.fingerprint
    assert (own.image.tobytes() == before.image.tobytes()) == (own.recipe.vae is None)


def test_its_latents_are_its_own(folder: Path, recipe: Recipe, session: Session) -> None:
    made = session.run(recipe.replace(vae=str(folder / "kl")))
    assert session.run(made.recipe.replace(image=made.latents)).image.size == made.image.size
    with pytest.raises(ParameterError, match="must be latents of the VAE"):
        session.run(recipe.replace(image=made.latents))


BAD = {
    "wide": "was made for latents of 16 channels, and those of sd15 have 4",
    "nothing.safetensors": "holds no VAE that is read as one file",
    "less.safetensors": "lacks",
    "pickle.pt": "a pickle can run code",
    "gone": "No checkpoint is called",
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_one_line_and_the_next_run_works(
    name: str, folder: Path, recipe: Recipe, session: Session, scene: Any
) -> None:
    with pytest.raises(CheckpointError, match=BAD[name]) as caught:
        session.run(recipe.replace(vae=str(folder / name)))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert session.run(recipe).image.tobytes() == by_hand(scene, folder, "")


def test_a_whole_pipeline_is_no_vae_and_some_families_have_none(recipe: Recipe, session: Session, scene: Any) -> None:
    with pytest.raises(CheckpointError, match=r"is a whole pipeline, not a VAE\. Give .*/vae\."):
        session.run(recipe.replace(vae=str(embedded.path("sd15"))))
    with pytest.raises(ParameterError, match="`vae` is not taken by kandinsky22"):
        resolve(Recipe(prompt=PROMPT, model="kandinsky22", vae="a/b"))


def test_no_folder_of_a_person_stays(folder: Path, recipe: Recipe) -> None:
    assert portable(recipe.replace(vae=str(folder / "kl.safetensors"))).vae == "kl.safetensors"
    assert portable(recipe.replace(vae="stabilityai/sd-vae-ft-mse")).vae == "stabilityai/sd-vae-ft-mse"
