"""The first line that a person gets for a well-known hub id is right: its family by heart, by its own index, and in a mix-up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nbdiffuse import Recipe, resolve
from nbdiffuse.checkpoints.layouts import components_of
from nbdiffuse.errors import ParameterError
from nbdiffuse.families.families import FAMILIES
from nbdiffuse.families.published import PUBLISHED, access
from nbdiffuse.families.recognition import recognise
from nbdiffuse.recipes.presets import PRESETS, name_for, nearest_family, preset_of

pytestmark = pytest.mark.quick

RECORDED: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "files" / "hub_indices.json").read_text())
"""model_index.json of well-known repositories, each with where its content was read; no hub was asked."""
FAMILY = {
    "stabilityai/sdxl-turbo": "stable-diffusion-xl",
    "stabilityai/stable-diffusion-3.5-medium": "stable-diffusion-3",
    "black-forest-labs/FLUX.1-dev": "flux",
    "black-forest-labs/FLUX.1-schnell": "flux",
    "black-forest-labs/FLUX.1-Krea-dev": "flux",
    "black-forest-labs/FLUX.1-Kontext-dev": "flux-kontext",
    "black-forest-labs/FLUX.2-klein-4B": "flux2-klein",
    "Qwen/Qwen-Image": "qwenimage",
    "Qwen/Qwen-Image-Edit-2511": "qwenimage-edit-plus",
    "Tongyi-MAI/Z-Image-Turbo": "z-image",
    "lodestones/Chroma1-HD": "chroma",
    "SimianLuo/LCM_Dreamshaper_v7": "lcm",
    "timbrooks/instruct-pix2pix": "instruct-pix2pix",
}
PICTURE = Image.effect_noise((64, 64), 60).convert("RGB")


def written(repo: str, folder: Path) -> str:
    (folder / "model_index.json").write_text(json.dumps(RECORDED[repo]["model_index.json"]))
    return str(folder)


@pytest.mark.parametrize("repo", RECORDED)
def test_a_well_known_id_and_a_copy_of_it_are_of_one_family(repo: str, tmp_path: Path) -> None:
    folder = written(repo, tmp_path)
    if FAMILY[repo] not in FAMILIES:
        for word in (repo, folder):
            with pytest.raises(
                ParameterError, match=r"It is a \w+\. Nearest to it is `[\w-]+` .*This version redraws with: "
            ) as caught:
                preset_of(word)
            assert RECORDED[repo]["model_index.json"]["_class_name"] in str(caught.value)
        return
    by_heart, by_index = preset_of(repo), preset_of(folder)
    assert by_heart.family == by_index.family == FAMILY[repo]
    assert by_index.name == name_for(FAMILY[repo])
    assert by_heart.hub_checkpoint == repo and by_heart.scheduler is not None
    index = RECORDED[repo]["model_index.json"]
    assert index["scheduler"][1] == f"{by_heart.scheduler}Scheduler"
    complete = resolve(Recipe(prompt="a red cat", image=PICTURE, model=folder))
    assert (complete.model, complete.checkpoint) == (name_for(FAMILY[repo]), folder)
    assert complete.scheduler == by_heart.scheduler


@pytest.mark.parametrize("repo", RECORDED)
def test_every_component_of_a_well_known_index_is_a_class_that_is_installed(repo: str, tmp_path: Path) -> None:
    import diffusers
    import transformers

    written(repo, tmp_path)
    for library, name in components_of(tmp_path).values():
        # diffusers takes its new name for the one old class.
        if library in ("diffusers", "transformers") and name != "CLIPFeatureExtractor":
            assert hasattr({"diffusers": diffusers, "transformers": transformers}[library], name), name


@pytest.mark.parametrize("repo", [repo for repo in RECORDED if FAMILY[repo] in FAMILIES])
def test_the_wrong_model_for_a_well_known_id_gets_the_right_one_to_type(repo: str) -> None:
    other = "kandinsky22" if FAMILY[repo] != "kandinsky22" else "sd15"
    with pytest.raises(ParameterError) as caught:
        resolve(Recipe(prompt="a", image=PICTURE, model=other, checkpoint=repo))
    line = str(caught.value)
    assert f"Write `--model {name_for(FAMILY[repo])} --checkpoint {repo}`." in line and "\n" not in line
    named = [name for name, preset in PRESETS.items() if preset.hub_checkpoint == repo]
    assert len(named) == 1 and (PUBLISHED[repo].gated == bool(access(repo)))


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("ZImageOmniPipeline", "z-image"),
        ("Flux2Pipeline", "flux2-klein"),
        ("StableDiffusionXLSomethingPipeline", "stable-diffusion-xl"),
        ("StableDiffusionDepth2ImgPipeline", "stable-diffusion"),
        ("FluxSomethingPipeline", "flux"),
        ("HiDreamImagePipeline", ""),
        ("PixArtSigmaPipeline", ""),
    ],
)
def test_a_class_that_is_not_run_has_a_nearest_family_where_it_is_named_like_one(name: str, family: str) -> None:
    assert nearest_family(name) == family


def test_an_unknown_class_is_one_line_with_the_class_and_what_is_nearest(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "QwenImageWonderPipeline"}))
    found = recognise(str(tmp_path))
    assert found is not None and not found.family
    with pytest.raises(ParameterError) as caught:
        preset_of(str(tmp_path))
    line = str(caught.value)
    assert "It is a QwenImageWonderPipeline. Nearest to it is `qwenimage` (Qwen-Image), with weights of its own." in line
    assert "\n" not in line
