"""A checkpoint says how it is run: its own scheduler with its own flags, unless a person names another."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from PIL import Image

from nbdiffuse import Recipe, Session, resolve
from nbdiffuse.errors import ParameterError
from nbdiffuse.families.description import describe
from nbdiffuse.families.distilled import distilled
from nbdiffuse.recipes.steps import steps_line
from nbdiffuse.runs.grid import Grid
from nbdiffuse.runs.program import script_of
from nbdiffuse.sweeps.axes import Axis
from nbdiffuse.sweeps.sweep import Sweep

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
PROMPT = "a red cat in the snow"
ZERO_SNR = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"}
SCHEDULERS: dict[str, dict[str, Any]] = {
    "PNDM": {"skip_prk_steps": True},
    "PNDM with Runge-Kutta": {"_class_name": "PNDM", "skip_prk_steps": False},
    "DDIM": {"set_alpha_to_one": False, "clip_sample": False},
    "LCM": {},
    "TCD": {},
    "DPM++ 2M Karras": {"_class_name": "DPMSolverMultistep", "use_karras_sigmas": True, "timestep_spacing": "linspace"},
    "Euler a trailing": {"_class_name": "EulerAncestralDiscrete", "timestep_spacing": "trailing"},
    "zero SNR": {"_class_name": "DDIM", "clip_sample": False, **ZERO_SNR},
    "v-prediction": {"_class_name": "EulerDiscrete", "prediction_type": "v_prediction"},
    "HeunDiscrete": {"timestep_spacing": "linspace"},
    "SASolver": {"steps_offset": 1},
    "Playground's": {"_class_name": "EDMDPMSolverMultistep", "sigma_data": 0.5},
}
"""Settings of each checkpoint's scheduler; the class is the key where `_class_name` does not say it."""

Checkpoints = Callable[[str], Path]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of Stable Diffusion's shape with random weights."""
    from diffusers import PNDMScheduler, StableDiffusionPipeline

    torch.manual_seed(0)
    pipeline = StableDiffusionPipeline(
        vae=tiny.vae(),
        text_encoder=tiny.text_encoder(),
        tokenizer=tiny.tokenizer(),
        unet=tiny._unet(),
        scheduler=PNDMScheduler(skip_prk_steps=True, steps_offset=1, **tiny._BETAS),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    folder = tmp_path_factory.mktemp("base") / "sd"
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoints(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    """Return a copy of the base with another scheduler, by its key in `SCHEDULERS`."""
    folder = tmp_path_factory.mktemp("schedulers")

    def copy(key: str) -> Path:
        target = folder / key.replace(" ", "-").replace("'", "")
        if not target.exists():
            shutil.copytree(base, target)
            settings = {**tiny._BETAS, "steps_offset": 1, **SCHEDULERS[key]}
            name = settings.pop("_class_name", key) + "Scheduler"
            index = json.loads((target / "model_index.json").read_text())
            index["scheduler"] = ["diffusers", name]
            (target / "model_index.json").write_text(json.dumps(index))
            config = target / "scheduler" / "scheduler_config.json"
            config.write_text(json.dumps({"_class_name": name, **settings}))
        return target

    return copy


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Image.Image:
    return Image.effect_noise((64, 64), 80).convert("RGB")


@pytest.mark.parametrize("key", SCHEDULERS)
def test_with_nothing_said_the_pixels_are_those_of_the_automatic_class(
    key: str, checkpoints: Checkpoints, session: Session, picture: Image.Image
) -> None:
    from diffusers import AutoPipelineForImage2Image

    checkpoint = checkpoints(key)
    pipeline = AutoPipelineForImage2Image.from_pretrained(checkpoint)
    pipeline.set_progress_bar_config(disable=True)
    calls: list[int] = []
    pipeline.unet.register_forward_hook(lambda *_: calls.append(1))
    few = distilled(str(checkpoint))  # no call of diffusers knows the numbers that such a checkpoint is made for
    values = few.values if few else {}
    theirs = pipeline(image=picture, prompt=PROMPT, generator=torch.Generator("cpu").manual_seed(7), **values).images[0]
    seen: list[tuple[int, int]] = []
    recipe = Recipe(prompt=PROMPT, image=picture, model=str(checkpoint), seed=7)
    mine = session.run(recipe, lambda progress: seen.append((progress.step, progress.steps)))
    assert mine.image.tobytes() == theirs.tobytes()
    assert mine.recipe.scheduler == type(pipeline.scheduler).__name__.removesuffix("Scheduler")
    assert bool(mine.notices) == bool(few)  # that it was distilled
    assert len(seen) == len(calls) and [step for step, of in seen if step == of] == [3 if few else 40]


@pytest.mark.parametrize("key", ["LCM", "DPM++ 2M Karras", "zero SNR", "HeunDiscrete"])
def test_the_exported_program_makes_these_pixels_and_does_not_restate_the_scheduler(
    key: str, checkpoints: Checkpoints, session: Session, picture: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = resolve(Recipe(prompt=PROMPT, image=picture, model=str(checkpoints(key)), seed=7, num_inference_steps=6))
    script = script_of(recipe)
    assert "pipeline.scheduler" not in script.text
    script.save(tmp_path / "program.py")
    monkeypatch.chdir(tmp_path)
    runpy.run_path("program.py")
    assert Image.open(tmp_path / script.results[0]).tobytes() == session.run(recipe).image.tobytes()


def test_a_named_scheduler_is_made_from_the_checkpoints_own_and_what_it_cannot_honour_is_said(
    checkpoints: Checkpoints, session: Session, picture: Image.Image
) -> None:
    from diffusers import AutoPipelineForImage2Image, HeunDiscreteScheduler

    checkpoint = checkpoints("zero SNR")
    recipe = Recipe(prompt=PROMPT, image=picture, model=str(checkpoint), seed=7, num_inference_steps=4, scheduler="HeunDiscrete")
    mine = session.run(recipe)
    pipeline = AutoPipelineForImage2Image.from_pretrained(checkpoint)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = HeunDiscreteScheduler.from_config(pipeline.scheduler.config)
    generator = torch.Generator("cpu").manual_seed(7)
    theirs = pipeline(image=picture, prompt=PROMPT, generator=generator, num_inference_steps=4).images[0]
    assert mine.image.tobytes() == theirs.tobytes()
    (notice,) = mine.notices
    assert "rescale_betas_zero_snr=True, which HeunDiscrete has no setting for; its own scheduler, DDIM, does." in notice
    assert "prediction_type" not in notice and "timestep_spacing" not in notice


@pytest.mark.parametrize(
    ("key", "named", "lost"),
    [
        ("DPM++ 2M Karras", "DDIM", "use_karras_sigmas=True"),
        ("Euler a trailing", "DPMSolverSinglestep", "timestep_spacing='trailing'"),
    ],
)
def test_other_settings_that_are_lost_are_said_too(
    key: str, named: str, lost: str, checkpoints: Checkpoints, session: Session, picture: Image.Image
) -> None:
    recipe = Recipe(prompt=PROMPT, image=picture, model=str(checkpoints(key)), num_inference_steps=2, scheduler=named)
    assert f"The checkpoint is made for {lost}, which {named} has no setting for" in " ".join(session.run(recipe).notices)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("DDIMScheduler", r"Type DDIM\.$"),
        ("DPM fast", r"No scheduler of diffusers does the same as DPM fast\.$"),
        ("HeunDiscret", r"Did you mean 'HeunDiscrete'\?$"),
        ("FlowMatchEulerDiscrete", r"which is for flow matching"),
        ("EDMEuler", r"which is only for weights that were made for it"),
        ("DDIMInverse", r"which is only for weights that were made for it"),
    ],
)
def test_a_name_that_is_no_scheduler_here_is_answered_with_what_to_type(name: str, line: str) -> None:
    with pytest.raises(ParameterError, match=line):
        resolve(Recipe(prompt=PROMPT, scheduler=name))


@pytest.mark.parametrize("name", ["DDIMParallel", "CogVideoXDDIM", "LMSDiscrete", "KDPM2AncestralDiscrete", "DEISMultistep"])
def test_any_class_of_diffusers_that_fits_may_be_named(name: str, base: Path, session: Session, picture: Image.Image) -> None:
    recipe = Recipe(prompt=PROMPT, image=picture, model=str(base), seed=7, num_inference_steps=4, scheduler=name)
    assert session.run(recipe).fingerprint["scheduler"] == f"{name}Scheduler"


def test_steps_that_a_scheduler_cannot_have_are_refused_before_the_run(checkpoints: Checkpoints, picture: Image.Image) -> None:
    common: dict[str, Any] = {"prompt": PROMPT, "image": picture}
    with pytest.raises(ParameterError, match=r"`num_inference_steps` must be at most 50 for LCM, got 51"):
        resolve(Recipe(**common, model=str(checkpoints("LCM")), num_inference_steps=51))
    with pytest.raises(ParameterError, match=r"`num_inference_steps` must be at least 4 for PNDM, got 3"):
        resolve(Recipe(**common, model=str(checkpoints("PNDM with Runge-Kutta")), num_inference_steps=3))
    with pytest.raises(ParameterError, match=r"must know the prediction type 'sample' .* got 'PNDM', which knows epsilon"):
        resolve(Recipe(**common, model="x4-upscaler", scheduler="PNDM"))
    with pytest.raises(ParameterError, match=r"must fit kandinsky22, got 'EulerDiscrete', which lacks what this pipeline needs"):
        resolve(Recipe(**common, model="kandinsky22", scheduler="EulerDiscrete"))


def test_what_a_checkpoint_names_and_diffusers_lacks_is_one_line(base: Path, tmp_path: Path, picture: Image.Image) -> None:
    shutil.copytree(base, tmp_path / "new")
    index = json.loads((tmp_path / "new" / "model_index.json").read_text())
    (tmp_path / "new" / "model_index.json").write_text(json.dumps({**index, "scheduler": ["diffusers", "NewestScheduler"]}))
    with pytest.raises(ParameterError, match=r"got 'Newest'\. Name another, such as DDIM or EulerDiscrete\.$"):
        resolve(Recipe(prompt=PROMPT, image=picture, model=str(tmp_path / "new")))
    assert resolve(Recipe(prompt=PROMPT, image=picture, model=str(tmp_path / "new"), scheduler="DDIM")).scheduler == "DDIM"


def test_a_checkpoint_that_is_only_on_the_hub_is_asked_when_it_runs_and_not_before(
    checkpoints: Checkpoints, hub: Any, picture: Image.Image
) -> None:
    hub.add("artist/lcm", checkpoints("LCM"))
    recipe = Recipe(prompt=PROMPT, image=picture, model="sd15", checkpoint="artist/lcm", seed=7, num_inference_steps=4)
    open_yet = resolve(recipe)
    assert open_yet.scheduler is None and steps_line(open_yet) == "strength 0.8 × 4 → 3 steps"
    assert "pipeline.scheduler" not in script_of(open_yet).text and hub.log == []
    axes = (Axis("guidance_scale", (1.0, 2.0)),)
    own, sweep = Session(), Sweep(open_yet, axes)
    result = own.run(open_yet)
    assert (result.recipe.scheduler, result.fingerprint["scheduler"]) == ("LCM", "LCMScheduler")
    asked = len(hub.log)
    assert resolve(recipe).scheduler == "LCM" and len(hub.log) == asked, "now it is on this disk"
    assert {cell.recipe.scheduler for cell in sweep.cells()} == {None}
    assert {one.recipe.scheduler for one in Grid(sweep, own).run()} == {"LCM"}


@pytest.mark.parametrize(
    "content",
    ["", "[]", "null", '{"_class_name": 3}', '{"scheduler": "x"}', '{"scheduler": ["a", null]}', "[" * 100_000, "\ud800", "{"],
)
def test_small_files_that_say_nothing_are_taken_for_saying_nothing(content: str, base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "odd")
    for name in ("model_index.json", "scheduler/scheduler_config.json", "unet/config.json"):
        (tmp_path / "odd" / name).write_bytes(content.encode("utf-8", "surrogatepass"))
    said = describe(str(tmp_path / "odd"))
    assert said is not None and (said.scheduler, said.in_channels, said.pipeline_class) == (None, None, None)


def test_a_description_is_read_again_when_its_file_changes(base: Path, tmp_path: Path, picture: Image.Image) -> None:
    shutil.copytree(base, tmp_path / "edited")
    recipe = Recipe(prompt=PROMPT, image=picture, model=str(tmp_path / "edited"))
    assert resolve(recipe).scheduler == "PNDM"
    index = json.loads((tmp_path / "edited" / "model_index.json").read_text())
    (tmp_path / "edited" / "model_index.json").write_text(json.dumps({**index, "scheduler": ["diffusers", "DDIMScheduler"]}))
    assert resolve(recipe).scheduler == "DDIM"


def test_describing_a_checkpoint_imports_no_heavy_library() -> None:
    code = (
        "import sys; from nbdiffuse import Recipe, resolve;"
        "assert resolve(Recipe(prompt='a cat')).scheduler == 'PNDM';"
        "print(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_of_a_checkpoint_that_is_not_here_no_steps_are_refused_and_no_calls_are_told(picture: Image.Image) -> None:
    hub = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    complete = resolve(Recipe(prompt=PROMPT, image=picture, checkpoint=hub, num_inference_steps=2, strength=0.5))
    assert complete.scheduler == "PNDM" and steps_line(complete).startswith("strength 0.5 × 2 → 1 step")


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("PNDM", {"scheduler": "DPMSolverMultistep", "use_karras_sigmas": True, "algorithm_type": "sde-dpmsolver++"}),
        ("DPM++ 2M Karras", {"use_karras_sigmas": False, "timestep_spacing": "trailing"}),
        ("zero SNR", {"scheduler": "EulerDiscrete", "use_beta_sigmas": True}),
    ],
)
def test_what_is_set_of_a_scheduler_gives_the_pixels_of_from_config_in_a_run_and_in_its_program(
    key: str,
    named: dict[str, Any],
    checkpoints: Checkpoints,
    session: Session,
    picture: Image.Image,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import diffusers

    checkpoint = checkpoints(key)
    recipe = Recipe(prompt=PROMPT, image=picture, model=str(checkpoint), seed=7, num_inference_steps=6, **named)
    pipeline = diffusers.AutoPipelineForImage2Image.from_pretrained(checkpoint)
    pipeline.set_progress_bar_config(disable=True)
    settings = {name: value for name, value in named.items() if name != "scheduler"}
    own = type(pipeline.scheduler).__name__.removesuffix("Scheduler")
    chosen = getattr(diffusers, f"{named.get('scheduler', own)}Scheduler")
    pipeline.scheduler = chosen.from_config(pipeline.scheduler.config, **settings)
    theirs = pipeline(image=picture, prompt=PROMPT, generator=torch.Generator("cpu").manual_seed(7), num_inference_steps=6)
    mine = session.run(recipe)
    assert mine.image.tobytes() == theirs.images[0].tobytes()
    assert mine.image.tobytes() != session.run(recipe.replace(**dict.fromkeys(settings))).image.tobytes()
    script = script_of(mine.recipe)
    script.save(tmp_path / "program.py")
    monkeypatch.chdir(tmp_path)
    runpy.run_path("program.py")
    assert Image.open(tmp_path / script.results[0]).tobytes() == mine.image.tobytes()


def test_a_grid_over_a_setting_runs_one_scheduler_each_and_its_program_makes_the_same(
    checkpoints: Checkpoints, session: Session, picture: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Recipe(prompt=PROMPT, image=picture, model=str(checkpoints("DDIM")), seed=7, num_inference_steps=4)
    axes = (Axis("timestep_spacing", ("leading", "trailing")), Axis("guidance_scale", (1.0, 4.0)))
    grid = Grid(Sweep(base, axes), session)
    made = [session.run(cell.recipe).image.tobytes() for cell in grid.sweep.cells()]
    assert len(set(made)) == 4
    script = script_of(grid)
    script.save(tmp_path / "program.py")
    monkeypatch.chdir(tmp_path)
    runpy.run_path("program.py")
    assert [Image.open(tmp_path / name).tobytes() for name in script.results] == made
