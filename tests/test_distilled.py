"""Checkpoints that were distilled to few steps run with their own scheduler, steps and guidance, unless a person says others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import save_file

from nbdiffuse import Recipe, Session, resolve
from nbdiffuse.cells.reference import reference
from nbdiffuse.checkpoints.single_file import config_repo
from nbdiffuse.families.distilled import DISTILLED, distilled, distilled_lora
from nbdiffuse.families.single_file import single_file
from nbdiffuse.recipes.notices import before_run
from nbdiffuse.recipes.presets import PRESETS
from nbdiffuse.recipes.resolve import minimal
from nbdiffuse.recipes.steps import real_steps

PICTURE = Image.effect_noise((64, 64), 60).convert("RGB")
XL = {
    "model.diffusion_model.input_blocks.0.0.weight": [320, 4, 3, 3],
    "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias": [1280],
    "first_stage_model.decoder.conv_in.weight": [4, 4],
}


def asked(**values: Any) -> Recipe:
    return Recipe(prompt="a red cat", image=PICTURE, **{"seed": 1, **values})


@pytest.mark.quick
@pytest.mark.parametrize("repo", DISTILLED)
def test_a_hub_id_brings_its_steps_and_guidance_and_a_person_may_say_others(repo: str) -> None:
    few, complete = DISTILLED[repo], resolve(asked(model=repo))
    assert (complete.num_inference_steps, complete.guidance_scale) == (few.steps, few.guidance)
    assert real_steps(complete) > 0 and minimal(complete).get("num_inference_steps") is None
    (line,) = (one for one in before_run(complete) if "distilled" in one)
    assert line.startswith(repo.partition("/")[2]) and f"its defaults are {few.steps} steps" in line
    other = resolve(asked(model=repo, num_inference_steps=30, guidance_scale=7.0))
    assert (other.num_inference_steps, other.guidance_scale) == (30, 7.0)
    assert any("Leave them out to run it so." in one for one in before_run(other))
    # Another revision of it is distilled too.
    assert distilled(f"{repo}@main") == few


@pytest.mark.quick
def test_the_lists_show_what_a_preset_runs_with() -> None:
    for name in ("sdxl-turbo", "flux-schnell", "z-image-turbo", "flux2-klein-4b"):
        few = DISTILLED[str(PRESETS[name].hub_checkpoint)]
        row = next(line for line in reference().splitlines() if line.startswith(f"| `{name}` "))
        assert f"| {few.guidance:g} | {few.steps} |" in row
    # Its pipeline's own defaults are those of a distilled model, so nothing else says them.
    assert "| `lcm-dreamshaper` | 0.8 | 8.5 | 4 |" in reference() and distilled("SimianLuo/LCM_Dreamshaper_v7") is None


def with_scheduler(base: Path, target: Path, scheduler: str, **unet: Any) -> Path:
    """Copy a checkpoint's small files and say another scheduler in them."""
    shutil.copytree(base, target)
    index = json.loads((target / "model_index.json").read_text())
    (target / "model_index.json").write_text(json.dumps({**index, "scheduler": ["diffusers", f"{scheduler}Scheduler"]}))
    config = target / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **unet}))
    return target


@pytest.mark.parametrize(("scheduler", "guidance"), [("LCM", 1.0), ("TCD", 0.0)])
def test_a_folder_with_such_a_scheduler_runs_like_the_raw_call_of_its_example(
    scheduler: str, guidance: float, tmp_path: Path, session: Session
) -> None:
    import diffusers

    folder = with_scheduler(tiny.write("sdxl", tmp_path), tmp_path / "few", scheduler)
    made = session.run(asked(model="sdxl", checkpoint=str(folder), strength=0.6))
    assert (made.recipe.num_inference_steps, made.recipe.guidance_scale) == (4, guidance)
    assert f"as its scheduler {scheduler} says" in " ".join(made.notices)
    raw = diffusers.StableDiffusionXLImg2ImgPipeline.from_pretrained(folder)
    raw.set_progress_bar_config(disable=True)
    values = {"num_inference_steps": 4, "guidance_scale": guidance, "strength": 0.6}
    expected = raw("a red cat", image=PICTURE, **values, generator=torch.Generator("cpu").manual_seed(1)).images[0]
    assert made.image.tobytes() == expected.tobytes()


@pytest.mark.quick
def test_a_unet_that_takes_its_guidance_as_an_embedding_keeps_its_pipelines_default(tmp_path: Path) -> None:
    folder = with_scheduler(tiny.write("sdxl", tmp_path), tmp_path / "few", "LCM", time_cond_proj_dim=16)
    complete = resolve(asked(model="sdxl", checkpoint=str(folder)))
    assert (complete.num_inference_steps, complete.guidance_scale) == (4, 5.0)


@pytest.mark.quick
def test_an_index_says_where_it_was_saved_from_and_whether_it_was_distilled(tmp_path: Path) -> None:
    def folder(name: str, **said: Any) -> str:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model_index.json").write_text(json.dumps(said))
        return str(tmp_path / name)

    few = distilled(folder("a", _class_name="StableDiffusionXLPipeline", _name_or_path="stabilityai/sdxl-turbo"))
    assert few == DISTILLED["stabilityai/sdxl-turbo"]
    klein = distilled(folder("b", _class_name="Flux2KleinPipeline", is_distilled=True))
    assert klein is not None and klein.values == {"num_inference_steps": 4, "guidance_scale": 1.0}
    assert distilled(folder("c", _class_name="Flux2KleinPipeline", is_distilled=False)) is None
    assert distilled(folder("d", _class_name="FluxPipeline", _name_or_path=["no", "text"])) is None
    assert distilled(folder("e", _class_name="LatentConsistencyModelPipeline", scheduler=["diffusers", "LCMScheduler"])) is None


def written(folder: Path, name: str) -> Path:
    file = folder / f"{name}.safetensors"
    save_file({key: torch.zeros(shape) for key, shape in XL.items()}, file)
    return file


@pytest.mark.quick
@pytest.mark.parametrize(
    ("name", "steps", "configs", "settings"),
    [
        ("sdxl_lightning_4step", 4, "stabilityai/stable-diffusion-xl-base-1.0", {"timestep_spacing": "trailing"}),
        ("sdxl_lightning_8step", 8, "stabilityai/stable-diffusion-xl-base-1.0", {"timestep_spacing": "trailing"}),
        ("sd_xl_turbo_1.0_fp16", 4, "stabilityai/sdxl-turbo", {}),
        ("sd_xl_base_1.0", None, "stabilityai/stable-diffusion-xl-base-1.0", {}),
    ],
)
def test_a_single_file_is_known_by_its_publishers_name(
    name: str, steps: int | None, configs: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    file = written(tmp_path, name)
    said = single_file(file)
    assert said is not None and dict(said.settings) == settings and config_repo(file) == configs
    for word in (str(file), f"somebody/else/{name}.safetensors"):
        few = distilled(word)
        assert (few.steps if few else None) == steps and (few is None or few.guidance == 0)
    complete = resolve(asked(model="sdxl", checkpoint=str(file), strength=0.6))
    assert complete.num_inference_steps == (steps or 50)


@pytest.mark.quick
def test_a_name_that_sounds_distilled_is_pointed_out_and_changes_nothing(tmp_path: Path) -> None:
    loud, silent = written(tmp_path, "dreamXL_v2-Turbo"), written(tmp_path, "turbochargedXL")
    complete = resolve(asked(model="sdxl", checkpoint=str(loud)))
    assert complete.num_inference_steps == 50
    assert any(line.startswith("dreamXL_v2-Turbo.safetensors is called Turbo") for line in before_run(complete))
    assert not any("is called" in line for line in before_run(resolve(asked(model="sdxl", checkpoint=str(silent)))))


@pytest.mark.quick
@pytest.mark.parametrize(
    ("word", "steps", "guidance", "scheduler", "spacing"),
    [
        ("latent-consistency/lcm-lora-sdv1-5", 4, 1.0, "LCM", None),
        ("loras/lcm-lora-sdxl.safetensors", 4, 1.0, "LCM", None),
        ("ByteDance/SDXL-Lightning/sdxl_lightning_8step_lora.safetensors", 8, 0.0, "EulerDiscrete", "trailing"),
        ("ByteDance/Hyper-SD/Hyper-SD15-4steps-lora.safetensors", 4, 0.0, "DDIM", "trailing"),
        ("ByteDance/Hyper-SD/Hyper-SDXL-12steps-CFG-lora.safetensors@main", 12, None, "DDIM", "trailing"),
        ("Hyper-FLUX.1-dev-8steps-lora.safetensors", 8, 3.5, None, None),
    ],
)
def test_a_lora_that_distils_brings_its_steps_guidance_and_scheduler(
    word: str, steps: int, guidance: float | None, scheduler: str | None, spacing: str | None
) -> None:
    few = distilled_lora(word)
    assert few is not None and (few.steps, few.guidance, few.scheduler, few.timestep_spacing) == (
        steps,
        guidance,
        scheduler,
        spacing,
    )
    if "FLUX" in word or "@" in word or word.startswith("loras/"):
        return
    base = asked(model="sd15", checkpoint="Lykon/dreamshaper-8", lora=word, strength=0.6)
    complete = resolve(base)
    assert (complete.num_inference_steps, complete.guidance_scale, complete.scheduler) == (steps, guidance, scheduler)
    assert complete.get("timestep_spacing") == spacing and resolve(complete) == complete
    assert any(f"with {scheduler}" in line for line in before_run(complete))
    # What a person says goes before all of it, and a scheduler of their own has their own settings.
    own = resolve(base.replace(num_inference_steps=30, guidance_scale=6.0, scheduler="PNDM"))
    assert (own.num_inference_steps, own.guidance_scale, own.scheduler) == (30, 6.0, "PNDM") and own.get(
        "timestep_spacing"
    ) is None


@pytest.mark.quick
@pytest.mark.parametrize(
    "word", ["style.safetensors", "artist/hyper-style", "my-lcm-lora-sdxl-mix.safetensors", "hyper/x.safetensors"]
)
def test_any_other_lora_changes_nothing_of_how_its_base_is_run(word: str) -> None:
    assert distilled_lora(word) is None
