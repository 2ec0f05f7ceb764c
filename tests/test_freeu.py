"""FreeU: four factors for one run, the pixels of diffusers' `enable_freeu`, and nothing left of them in the UNet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionXLPipeline

import nbdiffuse
from nbdiffuse import Recipe, Session, embedded, resolve
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.cells.write import cell_text, received
from nbdiffuse.errors import ParameterError
from nbdiffuse.families.families import FAMILIES
from nbdiffuse.panels import Panel
from nbdiffuse.recipes.taken_fields import settable
from nbdiffuse.runs.program import script_of
from nbdiffuse.scripts.checking import SAME, check

FACTORS = "0.9,0.2,1.5,1.6"


@pytest.fixture
def recipe(scene: Any) -> Recipe:
    return Recipe(prompt="a cat in the snow", image=scene.image, num_inference_steps=4, strength=0.6, seed=1, freeu=FACTORS)


def test_the_pixels_are_those_of_the_raw_call(recipe: Recipe, scene: Any, session: Session) -> None:
    raw = StableDiffusionImg2ImgPipeline.from_pretrained(embedded.path("sd15"))
    raw.enable_freeu(s1=0.9, s2=0.2, b1=1.5, b2=1.6)
    given: dict[str, Any] = {"image": scene.image, "strength": 0.6, "num_inference_steps": 4}
    picture = raw(recipe.prompt, **given, generator=torch.Generator("cpu").manual_seed(1)).images[0]
    assert session.run(recipe).image.tobytes() == picture.tobytes()


def test_those_of_sdxl_too(session: Session) -> None:
    raw = StableDiffusionXLPipeline.from_pretrained(embedded.path("sdxl"), add_watermarker=False)
    raw.enable_freeu(s1=0.6, s2=0.4, b1=1.1, b2=1.2)
    given: dict[str, Any] = {"num_inference_steps": 2, "width": 128, "height": 128}
    picture = raw("a cat", **given, generator=torch.Generator("cpu").manual_seed(1)).images[0]
    recipe = Recipe(prompt="a cat", model="sdxl", seed=1, freeu=" [0.6, 0.4 1.1,1.2]", **given)
    assert recipe.get("freeu") == "0.6,0.4,1.1,1.2" and session.run(recipe).image.tobytes() == picture.tobytes()


def test_nothing_of_it_is_left_for_the_next_run_and_none_that_runs_beside_it_gets_it(recipe: Recipe) -> None:
    own = Session()
    plain = recipe.replace(freeu=None)
    recipes = [plain, recipe, plain.replace(seed=5), recipe.replace(freeu="0.6,0.4,1.1,1.2"), plain.replace(seed=6)]
    alone = [own.run(one).image.tobytes() for one in recipes]
    assert len(set(alone)) == len(alone) and own.run(plain).image.tobytes() == alone[0]
    made: dict[int, Any] = {}
    own.submit_batch(recipes, lambda *seen: None, made.__setitem__).result()
    assert [made[index].image.tobytes() for index in (1, 3)] == [alone[1], alone[3]]
    grid = nbdiffuse.sweep(recipe, freeu=FACTORS + "|0.6,0.4,1.1,1.2").run()
    assert [one.image.tobytes() for one in grid.finished] == [alone[1], own.run(recipes[3]).image.tobytes()]


@pytest.mark.quick
@pytest.mark.parametrize("text", ["0.9,0.2,1.5", "a,b,c,d", "", "1,1,1,11", "nan,1,1,1", "-1,1,1,1", "1,1,1,1,1"])
def test_what_is_no_four_factors_is_refused(text: str, recipe: Recipe) -> None:
    with pytest.raises(ParameterError, match=r"`freeu` must be s1,s2,b1,b2 as diffusers has them") as raised:
        recipe.replace(freeu=text)
    assert "\n" not in str(raised.value)


@pytest.mark.quick
def test_families_without_such_a_unet_refuse_it(recipe: Recipe) -> None:
    taking = {key for key, family in FAMILIES.items() if "freeu" in family.fields}
    assert {"stable-diffusion", "stable-diffusion-xl", "x4-upscaler"} <= taking
    assert not taking & {"kandinsky22", "x2-upscaler", "flux", "stable-diffusion-3", "z-image"}
    with pytest.raises(ParameterError, match="`freeu` is not taken by kandinsky22"):
        resolve(recipe.replace(model="kandinsky22"))


def test_it_is_on_every_surface(recipe: Recipe, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = cell_text(recipe, {"image": "room"})
    assert f"--freeu {FACTORS}" in text
    name, line, body = received(text) or ("", "", "")
    assert {"model": "sd15", **parse_cell(name, line, body).values} == {**recipe.values(), "image": "room"}
    assert Recipe.from_json(recipe.to_json()) == recipe and "freeu" in settable(recipe.replace(freeu=None))
    assert parse_cell("img2img", f"room --freeu '{FACTORS}|1,1,1,1'", "a cat").axes["freeu"] == (FACTORS, "1,1,1,1")
    panel = Panel(recipe, session)
    assert panel.recipe == recipe
    panel.stop()
    monkeypatch.chdir(tmp_path)
    result = session.run(recipe)
    script = script_of(result)
    assert "pipeline.enable_freeu(s1=0.9, s2=0.2, b1=1.5, b2=1.6)" in script.text
    assert check(script, list(result.images)).line == SAME
