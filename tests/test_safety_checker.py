"""A safety checker's answer is said, and the picture that it made black is no result: not stored, not gridded, not chained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessorPil

from nbdiffuse import Recipe, Session, embedded, resolve
from nbdiffuse.errors import SafetyCheckerError
from nbdiffuse.metadata.image_files import read
from nbdiffuse.panels.chain_panel import ChainPanel
from nbdiffuse.panels.recipe_panel import Panel
from nbdiffuse.results import Result
from nbdiffuse.runs.chain_run import ChainRun
from nbdiffuse.runs.grid import Grid
from nbdiffuse.runs.loopback import Loopback
from nbdiffuse.runs.outcomes import FailedCell
from nbdiffuse.runs.replay import again, chain_of
from nbdiffuse.scripts.writing import Step, of_steps
from nbdiffuse.sessions import remote
from nbdiffuse.store import index
from nbdiffuse.store.store import Store
from nbdiffuse.sweeps.sweep import Sweep

LINE = r"flagged the picture and made it black.*`--safety-checker none`.*`?safety_checker=\"none\"`?"


def checker(bias: float) -> StableDiffusionSafetyChecker:
    """Return a small safety checker whose thresholds all have one value: -5 flags everything, 5 nothing."""
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "projection_dim": 32}
    config = CLIPConfig(text_config=text, vision_config={**text, "image_size": 224, "patch_size": 32}, projection_dim=32)
    torch.manual_seed(0)
    made = StableDiffusionSafetyChecker(config).eval()
    with torch.no_grad():
        made.concept_embeds.normal_()
        made.concept_embeds_weights.fill_(bias)
        made.special_care_embeds.normal_()
        made.special_care_embeds_weights.fill_(5.0)
    return made


def written(folder: Path, bias: float) -> str:
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
        embedded.path("sd15"),
        safety_checker=checker(bias),
        feature_extractor=CLIPImageProcessorPil(),
        requires_safety_checker=True,
    )
    pipeline.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded base with a safety checker that flags everything."""
    return written(tmp_path_factory.mktemp("strict") / "strict", -5.0)


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded base with a safety checker that flags nothing."""
    return written(tmp_path_factory.mktemp("lenient") / "lenient", 5.0)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("NBDIFFUSE_CACHE", str(tmp_path / "cache"))
    yield Store()


def recipe(checkpoint: str, **more: Any) -> Recipe:
    return Recipe(prompt="a cat", checkpoint=checkpoint, num_inference_steps=2, seed=1, width=128, height=128, **more)


@pytest.mark.parametrize("task", ["txt2img", "img2img", "inpaint"])
def test_what_the_checker_flags_is_said_and_kept_nowhere(
    task: str, strict: str, session: Session, scene: Any, store: Store, tmp_path: Path
) -> None:
    given = {"txt2img": {}, "img2img": {"image": scene.image}, "inpaint": {"image": scene.image, "mask_image": scene.mask}}[task]
    before = list(session.history)
    made = session.run(recipe(strict, **given))
    assert made.nsfw_content_detected == (True,) and not np.asarray(made.image).any()
    (line,) = made.notices
    assert made.problem is not None and str(made.problem) == line
    with pytest.raises(SafetyCheckerError, match=LINE):
        made.save(tmp_path / "black.png")
    assert not (tmp_path / "black.png").exists()
    assert index.keep(made) is None and not list(store.entries())
    assert list(session.history) == before and session.recall(made.recipe) is None
    assert made.latents is None


def test_what_it_flags_is_what_diffusers_says(strict: str, lenient: str, session: Session) -> None:
    for checkpoint in (strict, lenient):
        pipeline = diffusers.StableDiffusionPipeline.from_pretrained(checkpoint)
        pipeline.set_progress_bar_config(disable=True)
        raw = pipeline("a cat", num_inference_steps=2, generator=torch.Generator("cpu").manual_seed(1))
        assert raw.images[0].size == (128, 128)
        made = session.run(recipe(checkpoint))
        assert made.nsfw_content_detected == tuple(raw.nsfw_content_detected)
        assert made.image.tobytes() == raw.images[0].tobytes()


def test_without_the_checker_the_picture_is_that_of_diffusers_without_it(strict: str, session: Session, store: Store) -> None:
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(strict, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    raw = pipeline("a cat", num_inference_steps=2, generator=torch.Generator("cpu").manual_seed(1)).images[0]
    made = session.run(recipe(strict, safety_checker="none"))
    assert made.image.tobytes() == raw.tobytes() and made.nsfw_content_detected == () and made.notices == ()
    assert made.recipe.safety_checker == "none" and made.recipe.digest != resolve(recipe(strict)).digest
    assert index.keep(made) is None and len(list(store.entries())) == 1
    assert session.run(recipe(strict)).nsfw_content_detected == (True,), "the next run has it again"


def test_how_it_ran_is_in_the_saved_picture(strict: str, session: Session, tmp_path: Path) -> None:
    session.run(recipe(strict, safety_checker="none")).save(tmp_path / "made.png")
    provenance = read(tmp_path / "made.png").provenance
    assert provenance is not None and provenance.recipe.safety_checker == "none"


def test_the_program_runs_without_the_checker_where_the_recipe_does(
    strict: str, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = session.run(recipe(strict, safety_checker="none"))
    program = of_steps([Step(made.recipe, made.fingerprint)])
    assert "safety_checker=None" in program.text
    assert "safety_checker" not in of_steps([Step(resolve(recipe(strict)), made.fingerprint)]).text
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "program"}
    exec(compile(program.text, "program.py", "exec"), namespace)
    assert namespace["image"].tobytes() == made.image.tobytes()


def test_a_picture_that_is_black_by_itself_is_no_false_alarm(lenient: str, session: Session, store: Store) -> None:
    own: Any = Session()
    own.run(recipe(lenient))
    vae = own._engine.pipelines.components(lenient)["vae"]
    vae.decoder.register_forward_hook(lambda module, inputs, output: torch.full_like(output, -3.0))
    made = own.run(recipe(lenient))
    assert not np.asarray(made.image).any() and made.notices == () and made.problem is None
    assert made.nsfw_content_detected == (False,) and index.keep(made) is None and len(list(store.entries())) == 1


def test_a_grid_marks_the_cell_and_keeps_the_others(strict: str, session: Session, store: Store) -> None:
    sweep = Sweep.of(recipe("sd15"), checkpoint=["sd15", strict])
    grid = Grid(sweep, session, store).run()
    kept, failed = grid
    assert isinstance(kept, Result) and isinstance(failed, FailedCell) and isinstance(failed.error, SafetyCheckerError)
    assert grid.missing == 1 and len(list(store.entries())) == 1
    assert any(line.startswith("1 of 2 distinct images failed: The safety checker of strict") for line in grid.notices)
    assert [row["error"] is None for row in grid.records()] == [True, False]
    again = Grid(sweep, session, store).run()
    assert again.missing == 1 and [row["source"] for row in again.records()] == ["store", "failed"]


def test_a_chain_stops_with_the_reason_and_keeps_its_steps(strict: str, session: Session, store: Store) -> None:
    second = Recipe(prompt="a cat", checkpoint=strict, num_inference_steps=2, strength=0.5)
    run = ChainRun(recipe("sd15") >> second >> second, session, store)
    with pytest.raises(SafetyCheckerError, match="Step 2: The safety checker of strict flagged"):
        run.run()
    assert len(run) == 1 and run.results[0].problem is None
    assert all(entry["recipe"]["checkpoint"] != strict for entry in store.entries())


def test_a_loopback_stops_with_the_reason(strict: str, session: Session, scene: Any) -> None:
    loop = Loopback(recipe(strict, image=scene.image), passes=3, session=session)
    with pytest.raises(SafetyCheckerError, match="Pass 1: The safety checker"):
        loop.run()
    assert loop.results == [] and loop.pictures == []


def test_a_panel_says_it_and_its_history_stays(strict: str, session: Session) -> None:
    panel = Panel(recipe("sd15"), session)
    panel.run()
    panel.wait()
    first = panel.result
    panel.show(recipe(strict))
    panel.run()
    panel.wait()
    panel._thread.settle()
    assert isinstance(panel.last_error, SafetyCheckerError) and panel.result is first
    assert panel.results == [first] and "flagged the picture" in panel._output._status.value
    panel.show(recipe(strict), session.run(recipe(strict)))
    assert panel.results == [first]
    chain = ChainPanel(recipe(strict) >> Recipe(prompt="a cat", num_inference_steps=3, strength=0.5), session)
    chain.run()
    chain.wait()
    chain._thread.settle()
    assert chain.result is None and "Step 1: The safety checker" in chain._output._status.value


def test_a_worker_sends_the_answer_along(strict: str) -> None:
    complete = resolve(recipe(strict))
    made = remote.unpacked(remote.run(*remote.packed(complete)), complete)
    assert isinstance(made, Result) and made.nsfw_content_detected == (True,) and made.problem is not None


def test_a_black_picture_is_no_replay(strict: str, session: Session, store: Store) -> None:
    made = session.run(recipe(strict, safety_checker="none"))
    flagged = chain_of(made.provenance).replace(1, safety_checker=None)
    with pytest.raises(SafetyCheckerError):
        again(flagged, index.PictureIndex(store))
