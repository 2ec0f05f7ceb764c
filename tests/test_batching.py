"""Batches: many recipes through one denoising loop give the pictures that each would give alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from test_families import control_recipe
from waiting import HUNG

from nbdiffuse import NbdiffuseError, Recipe, resolve
from nbdiffuse.engine.batching import ContinuousBatch
from nbdiffuse.engine.engine import Engine
from nbdiffuse.engine.model_calls import ModelCall, run_batched
from nbdiffuse.errors import Interrupted, RunError
from nbdiffuse.pipelines.pipelines import Pipelines
from nbdiffuse.recipes.preset import SCHEDULERS
from nbdiffuse.store.store import Store


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(Pipelines("cpu"))


@pytest.fixture
def recipe(scene: Any) -> Recipe:
    return Recipe(prompt="a cat", image=scene.image, num_inference_steps=5, strength=0.8, scheduler="DDIM", seed=1)


def alone(engine: Engine, recipe: Recipe) -> Any:
    return engine.run(resolve(recipe), lambda progress: None, threading.Event())


def together(engine: Engine, recipes: Sequence[Recipe], **how: Any) -> dict[int, Any]:
    outcomes: dict[int, Any] = {}
    complete = [resolve(recipe) for recipe in recipes]
    how = {"on_progress": lambda index, progress: None, "stop": threading.Event(), **how}
    ContinuousBatch(engine, complete, on_outcome=outcomes.__setitem__, **how).run()
    return outcomes


def assert_same_pictures(engine: Engine, recipes: Sequence[Recipe], outcomes: dict[int, Any]) -> None:
    assert sorted(outcomes) == list(range(len(recipes)))
    for index, recipe in enumerate(recipes):
        expected = alone(engine, recipe)
        assert outcomes[index].recipe == expected.recipe and outcomes[index].notices == expected.notices
        difference = np.asarray(outcomes[index].image, int) - np.asarray(expected.image, int)
        assert np.abs(difference).max() <= 1, f"{recipe.scheduler}, cell {index}"


@contextmanager
def watched(engine: Engine, before: Callable[[torch.Tensor, torch.Tensor], None] = lambda *call: None) -> Iterator[list[int]]:
    """Yield the rows of each call of the denoiser; `before` sees the sample and the timesteps."""
    rows: list[int] = []
    unet = engine.pipelines.acquire("sd15", "StableDiffusionPipeline", "DDIM").unet

    def look(model: Any, args: Any, kwargs: Any) -> None:
        rows.append(len(args[0]))
        before(args[0], args[1])

    handle = unet.register_forward_pre_hook(look, with_kwargs=True)
    try:
        yield rows
    finally:
        handle.remove()


def mixed(recipe: Recipe, **values: Any) -> list[Recipe]:
    """Recipes that differ in all that a batch may differ in, one of them text-to-image."""
    cells: list[dict[str, Any]] = [
        {"strength": 0.4, "guidance_scale": 1.0, "seed": 2},
        {"prompt": "a robot in the snow", "strength": 1.0, "guidance_scale": 10.0},
        {"prompt": "a house", "negative_prompt": "snow", "strength": 0.6},
    ]
    without = Recipe(prompt="a rocket", num_inference_steps=3, scheduler=recipe.scheduler, seed=5)
    return [one.replace(**values) for one in (*(recipe.replace(**cell) for cell in cells), without)]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_pictures_equal_those_of_single_runs(engine: Engine, recipe: Recipe, scheduler: str) -> None:
    recipes = mixed(recipe, scheduler=scheduler, num_inference_steps=4)
    assert_same_pictures(engine, recipes, together(engine, recipes))


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_pictures_equal_those_of_single_runs_over_a_whole_schedule(engine: Engine, recipe: Recipe, scheduler: str) -> None:
    recipes = mixed(recipe, scheduler=scheduler, num_inference_steps=50)
    assert_same_pictures(engine, recipes, together(engine, recipes))


@pytest.mark.quick
def test_one_alone_gives_the_bytes_of_a_run(engine: Engine, recipe: Recipe) -> None:
    assert together(engine, [recipe])[0].image.tobytes() == alone(engine, recipe).image.tobytes()


def test_no_call_records_gradients_whichever_lane_ends_first(engine: Engine, recipe: Recipe) -> None:
    recorded = []
    with watched(engine, lambda *call: recorded.append(torch.is_grad_enabled())):
        together(engine, mixed(recipe))
    assert recorded and not any(recorded) and torch.is_grad_enabled()


def test_cells_share_calls_and_places_are_filled_again(engine: Engine, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    same = [recipe.replace(seed=seed) for seed in range(4)]
    with watched(engine) as rows:
        together(engine, same)
    assert rows == [8, 8, 8, 8]
    monkeypatch.setattr("nbdiffuse.engine.batching.MAX_ROWS", 4)
    with watched(engine) as rows:
        outcomes = together(engine, [recipe.replace(strength=strength) for strength in (0.2, 0.8, 0.4, 0.2)])
    # 1 + 4 + 2 + 1 steps of 2 rows each: the second runs beside the first, the third and the last in turn.
    assert rows == [4, 4, 4, 4] and next(iter(outcomes)) == 0


def test_encoders_run_once_for_all(engine: Engine, recipe: Recipe) -> None:
    engine.embedding_cache.clear()
    together(engine, [recipe.replace(seed=seed, guidance_scale=3.0 + seed) for seed in range(5)])
    assert len(engine.embedding_cache) == 3  # the prompt, the empty negative prompt, the picture


def test_other_schedulers_sizes_and_step_counts_go_side_by_side(engine: Engine, recipe: Recipe) -> None:
    values: list[dict[str, Any]] = [{}, {"scheduler": "EulerDiscrete"}, {"width": 64, "height": 96}, {"num_inference_steps": 7}]
    recipes = [recipe.replace(**each) for each in values]
    assert_same_pictures(engine, recipes, together(engine, recipes))


def test_memory_that_runs_out_halves_the_calls_and_costs_no_picture(engine: Engine, recipe: Recipe) -> None:
    def refuse_many(sample: torch.Tensor, timesteps: torch.Tensor) -> None:
        if len(sample) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    recipes = [recipe.replace(seed=seed) for seed in range(4)]
    with watched(engine, refuse_many) as rows:
        outcomes = together(engine, recipes)
    assert rows == [8, *[4, 4] * 4]  # too much once, then never again
    assert_same_pictures(engine, recipes, outcomes)


def test_memory_that_is_too_small_for_one_says_so_in_its_own_line(engine: Engine, recipe: Recipe) -> None:
    def refuse(sample: torch.Tensor, timesteps: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with watched(engine, refuse):
        outcomes = together(engine, [recipe, recipe.replace(seed=2)])
    assert all(isinstance(one, RunError) and "ran out at 128x128" in str(one) for one in outcomes.values())


def test_a_failing_call_costs_only_the_cell_that_made_it(engine: Engine, recipe: Recipe) -> None:
    def refuse_late_timesteps(sample: torch.Tensor, timesteps: torch.Tensor) -> None:
        if (timesteps > 790).any():
            raise ValueError("not this one")

    recipes = [recipe.replace(strength=strength) for strength in (0.4, 1.0, 0.6)]
    with watched(engine, refuse_late_timesteps):
        outcomes = together(engine, recipes)
    assert isinstance(outcomes[1], RunError) and "ValueError while the pipeline ran: not this one" in str(outcomes[1])
    assert_same_pictures(engine, [recipes[0], recipes[2]], {0: outcomes[0], 1: outcomes[2]})


@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_stop_ends_all_and_leaves_the_models_as_they_were(engine: Engine, recipe: Recipe, after: int) -> None:
    before = alone(engine, recipe).image.tobytes()
    stop, seen, outcomes = threading.Event(), [0], {}
    components = engine.pipelines.components("sd15")
    found = {name: set(vars(components[name])) for name in ("unet", "vae", "text_encoder")}

    def on_progress(index: int, progress: Any) -> None:
        seen[0] += 1
        if seen[0] > after:
            stop.set()

    recipes = [resolve(recipe.replace(seed=seed)) for seed in (1, 2, 3)]
    with pytest.raises(Interrupted):
        ContinuousBatch(engine, recipes, on_progress, outcomes.__setitem__, stop).run()
    assert outcomes == {} and seen[0] <= after + 1
    assert {name: set(vars(components[name])) for name in found} == found
    assert not [thread for thread in threading.enumerate() if thread.name == "nbdiffuse-coroutine" and thread.is_alive()]
    assert alone(engine, recipe).image.tobytes() == before


class SetAfter(threading.Event):
    """An event that is set when it is asked for the nth time."""

    def __init__(self, asked: int) -> None:
        super().__init__()
        self._left = asked

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


@pytest.mark.parametrize(("count", "asked"), [(1, 0), (1, 1), (1, 2), (1, 3), *((2, asked) for asked in range(8))])
def test_no_stop_is_lost_however_early_it_comes(engine: Engine, recipe: Recipe, count: int, asked: int) -> None:
    """What is neither finished nor stopped would be run again."""
    outcomes: dict[int, Any] = {}
    recipes = [resolve(recipe.replace(seed=seed)) for seed in range(count)]
    with pytest.raises(Interrupted):
        ContinuousBatch(engine, recipes, lambda index, progress: None, outcomes.__setitem__, SetAfter(asked)).run()
    assert outcomes == {}


def test_a_recipe_alone_runs_on_the_thread_of_its_batch(engine: Engine, recipe: Recipe) -> None:
    """A second thread would have torch keep a second set of its own."""
    threads = set()
    together(engine, [recipe], on_progress=lambda index, progress: threads.add(threading.current_thread()))
    assert threads == {threading.current_thread()}


def test_finished_cells_outlive_a_stop(engine: Engine, recipe: Recipe) -> None:
    stop, outcomes = threading.Event(), {}
    recipes = [resolve(recipe.replace(strength=strength)) for strength in (0.2, 1.0)]

    def on_outcome(index: int, outcome: Any) -> None:
        outcomes[index] = outcome
        stop.set()

    with pytest.raises(Interrupted):
        ContinuousBatch(engine, recipes, lambda index, progress: None, on_outcome, stop).run()
    assert list(outcomes) == [0]


def test_other_work_that_waits_gets_its_turn(engine: Engine, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbdiffuse.engine.batching.MAX_ROWS", 4)
    recipes = [recipe.replace(seed=seed, strength=0.2) for seed in range(6)]
    waiting = iter([False] * 2)
    assert sorted(together(engine, recipes, pause=lambda: next(waiting, True))) == [0, 1]
    assert sorted(together(engine, recipes, pause=lambda: True)) == [0]


def test_progress_and_seconds_are_told_for_each(engine: Engine, recipe: Recipe) -> None:
    seen: dict[int, list[int]] = {0: [], 1: []}
    recipes = [recipe.replace(strength=strength) for strength in (0.4, 0.8)]
    outcomes = together(engine, recipes, on_progress=lambda index, progress: seen[index].append(progress.step))
    assert seen == {0: [1, 2], 1: [1, 2, 3, 4]}
    assert min(outcomes[0].seconds, outcomes[1].seconds) > 0


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("families")
    for name in tiny.MAKERS:
        tiny.write(name, directory)
    return directory


FAMILIES: dict[str, dict[str, Any]] = {
    "sdxl": {"strength": 0.5, "prompt_2": "a dog"},
    "sdxl-refiner": {"strength": 0.5},
    "kandinsky22": {"strength": 0.6, "prior_num_inference_steps": 2},
    "x2-upscaler": {"guidance_scale": 3.0},
    "x4-upscaler": {"noise_level": 50, "width": 256, "height": 256},
}


@pytest.mark.parametrize("model", FAMILIES)
def test_every_family_goes_through_a_batch(engine: Engine, scene: Any, checkpoints: Path, model: str) -> None:
    where = {"model": model, "checkpoint": str(checkpoints / model), "num_inference_steps": 4}
    base = Recipe(prompt="a cat", image=scene.image, **where, **FAMILIES[model])
    recipes = [base.replace(seed=1), base.replace(seed=2, prompt="a dog"), base.replace(seed=3, negative_prompt="snow")]
    assert_same_pictures(engine, recipes, together(engine, recipes))


def test_controlnets_and_masks_go_through_a_batch(
    engine: Engine, scene: Any, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controlled = control_recipe(checkpoints, monkeypatch, scene, image=scene.image)
    masked = Recipe(prompt="a cat", image=scene.image, mask_image=scene.mask, num_inference_steps=4, seed=1)
    recipes = [controlled, controlled.replace(seed=2, strength=0.4), masked, masked.replace(seed=2)]
    assert_same_pictures(engine, recipes, together(engine, recipes))


@pytest.mark.quick
def test_calls_of_other_kinds_are_told_apart() -> None:
    def call(*args: Any, **kwargs: Any) -> ModelCall:
        return ModelCall(run_batched, lambda *args, **kwargs: (args, kwargs), args, kwargs)

    rows = torch.zeros(2, 3)
    base = call(rows, torch.tensor(5), scale=1.0)
    assert base.kind == call(torch.ones(2, 3), torch.tensor(9), scale=1.0).kind
    # Another count of rows is no other kind.
    assert base.kind == call(torch.ones(4, 3), torch.tensor(9), scale=1.0).kind
    others = [call(rows.double(), torch.tensor(5), scale=1.0), call(rows[:, :2], torch.tensor(5), scale=1.0)]
    others += [call(rows, torch.tensor(5.0), scale=1.0), call(rows, torch.tensor(5), scale=2.0), call(rows, None, scale=1.0)]
    assert all(base.kind != other.kind for other in others)


@pytest.mark.quick
def test_rows_come_back_to_the_call_that_sent_them() -> None:
    def double(sample: torch.Tensor, timestep: Any, more: Any = None) -> Any:
        assert timestep.shape == sample.shape[:1]
        return 2 * sample, [sample + timestep[:, None]], more["text"][0]

    calls = [
        ModelCall(
            None, double, (torch.full((count, 1), float(count)), torch.tensor(count)), {"more": {"text": [torch.ones(count)]}}
        )
        for count in (1, 3, 2)
    ]
    for count, (doubled, (added,), text) in zip((1, 3, 2), run_batched(calls), strict=True):
        assert doubled.tolist() == [[2.0 * count]] * count and added.tolist() == [[2.0 * count]] * count and len(text) == count


def test_a_session_runs_a_batch_and_remembers_its_results(session: Any, recipe: Recipe) -> None:
    outcomes: dict[int, Any] = {}
    job = session.submit_batch([recipe, recipe.replace(seed=2)], lambda index, progress: None, outcomes.__setitem__)
    job.result(HUNG)
    assert {id(one) for one in outcomes.values()} <= {id(one) for one in session.history}
    with pytest.raises(NbdiffuseError):
        session.submit_batch([recipe, recipe.replace(scheduler="no such")], lambda *args: None, outcomes.__setitem__)


def test_how_many_rows_were_shared_is_in_the_fingerprint_and_hides_nothing(session: Any, recipe: Recipe, tmp_path: Path) -> None:
    complete = [resolve(recipe.replace(seed=seed)) for seed in (901, 902)]
    outcomes: dict[int, Any] = {}
    session.submit_batch(complete, lambda index, progress: None, outcomes.__setitem__).result()
    assert outcomes[0].fingerprint["batch"] == "4 rows"
    assert "batch" not in session.run(complete[0].replace(seed=903)).fingerprint
    assert session.recall(complete[0]) is outcomes[0]
    store, result = Store(tmp_path), outcomes[0]
    store.put(result.image, result.provenance, result.seconds)
    kept = store.get(complete[0], session.fingerprint(complete[0]))
    assert kept is not None and kept.fingerprint == result.fingerprint
