"""Threads that share one session, and with it the weights, get bit for bit what runs one after the other get."""

from __future__ import annotations

import hashlib
import random
import threading
from typing import Any

import pytest
from PIL import Image
from waiting import HUNG

from nbdiffuse import Recipe, Session, resolve
from nbdiffuse.errors import Interrupted

THREADS = 8


def digest(result: Any) -> str:
    return hashlib.sha256(result.image.tobytes()).hexdigest()


@pytest.fixture
def recipes(scene: Any) -> list[Recipe]:
    """Every kind of run that shares modules, with prompts of different length."""
    mask = Image.new("L", (128, 128), 0)
    mask.paste(255, (20, 20, 90, 90))
    long = "a robot in the snow, muted colors, detailed, 8k, " + "a cat, " * 40
    given: list[dict[str, Any]] = [
        {"prompt": "a cat"},
        {"prompt": long, "negative_prompt": "a dog", "guidance_scale": 3.0},
        {"prompt": "a cat", "image": scene.image},
        {"prompt": long, "image": scene.image, "strength": 1.0, "scheduler": "DDIM"},
        {"prompt": "a house", "image": scene.image, "mask_image": mask},
        {"prompt": "a house", "controlnet": "depth", "control_image": scene.depth},
        {"prompt": "(a cat:1.3) in the snow", "weighting": "a1111", "image": scene.image},
        {"prompt": "a cat", "model": "sdxl", "image": scene.image, "strength": 1.0},
    ]
    return [resolve(Recipe(num_inference_steps=2, seed=number, **values)) for number, values in enumerate(given)]


@pytest.mark.parametrize("rounds", [pytest.param(1, id="a part"), pytest.param(200, id="full", marks=pytest.mark.slow)])
def test_many_threads_get_what_serial_runs_get(rounds: int, recipes: list[Recipe], session: Session) -> None:
    serial = {recipe: digest(session.run(recipe)) for recipe in recipes}
    wrong: list[Any] = []
    inside, most = [0], [0]
    assert session._engine is not None
    engine, original = session._engine, session._engine._once

    def watched(*given: Any, **named: Any) -> Any:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        try:
            return original(*given, **named)
        finally:
            inside[0] -= 1

    engine._once = watched  # type: ignore[method-assign]
    start = threading.Barrier(THREADS)

    def use(number: int) -> None:
        order = random.Random(number)
        start.wait(HUNG)
        for _ in range(rounds):
            recipe = order.choice(recipes)
            try:
                if digest(session.run(recipe)) != serial[recipe]:
                    wrong.append(recipe)
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(THREADS)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        del engine._once
    assert wrong == [] and most == [1]


@pytest.mark.parametrize("count", [pytest.param(8, id="a part"), pytest.param(200, id="full", marks=pytest.mark.slow)])
def test_runs_that_are_stopped_at_any_moment_change_no_other(count: int, recipes: list[Recipe], session: Session) -> None:
    """Over encoding, denoising and decoding of every kind of run; the queue is empty afterwards."""
    serial = {recipe: digest(session.run(recipe)) for recipe in recipes}
    usual = {recipe: session.run(recipe).seconds for recipe in recipes}
    assert session._engine is not None
    order, stopped = random.Random(5), 0
    for number in range(count):
        recipe = recipes[number % len(recipes)]
        session._engine.embedding_cache.clear()
        job = session.submit(recipe.replace(num_inference_steps=12, seed=1000 + number))
        timer = threading.Timer(order.uniform(0, 3 * usual[recipe]), job.stop)
        timer.start()
        try:
            job.result(HUNG)
        except Interrupted:
            stopped += 1
        timer.cancel()
        other = order.choice(recipes)
        assert digest(session.run(recipe)) == serial[recipe] and digest(session.run(other)) == serial[other]
    assert stopped >= count // 4 and not session._worker.waiting
