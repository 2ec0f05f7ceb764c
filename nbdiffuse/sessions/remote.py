"""Recipes on other processes and machines: what a worker is sent, what it does, and what it sends back.

A recipe travels as JSON and its pictures as PNG, a result as JSON and PNG. No pipeline,
tensor or class of this package is pickled, so both ends only need to know the format.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from PIL import Image

from .. import errors
from ..devices.worker import detached
from ..errors import NbdiffuseError, ParameterError, RunError
from ..families.scheduler_classes import names
from ..images.latents import Latents
from ..images.picture import Picture
from ..images.reader import PILLOW_LIMIT
from ..metadata import fingerprints
from ..recipes.notices import before_run
from ..recipes.recipe import Recipe
from ..recipes.sizes import fitted_pictures
from ..results import Result

if TYPE_CHECKING:
    from ..engine.engine import Engine

Packed = tuple[str, dict[str, bytes]]
"""A recipe's JSON, and its pictures by address."""
Answer = tuple[str, list[bytes]]
"""JSON, and pictures."""


class Devices(ThreadPoolExecutor):
    """Run sweeps on several devices of this process, each with a worker and pipelines of its own.

    Parameters
    ----------
    *names
        Such as "cuda:0", "cuda:1"; all GPUs when none is given.

    Raises
    ------
    ParameterError
        None is given and there is no GPU.
    """

    def __init__(self, *names: str) -> None:
        names = names or gpus()
        if not names:
            raise ParameterError("`Devices` must be given at least one name where there is no GPU, such as Devices('cpu').")
        free: SimpleQueue[str] = SimpleQueue()
        for name in names:
            free.put(name)
        super().__init__(len(names), "nbdiffuse-device", initializer=lambda: _claim(free))


_here = threading.local()
_engines: dict[str | None, Engine] = {}
_locks: dict[str | None, threading.Lock] = {}
_making = threading.Lock()


def gpus() -> tuple[str, ...]:
    """Return this machine's GPUs by torch's names, such as "cuda:0"."""
    import torch

    return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))


def _claim(free: SimpleQueue[str]) -> None:
    _here.device = free.get()


def packed(recipe: Recipe) -> Packed:
    """Make a complete recipe ready to travel.

    Returns
    -------
    tuple
        Canonical JSON, and for each picture its address and a PNG.

    Raises
    ------
    ParameterError
        It starts from latents, which do not travel.
    """
    for name, picture in recipe.pictures.items():
        if isinstance(picture, Latents):
            way_out = "Give the decoded picture: `result.image`."
            raise ParameterError(f"`{name}` must be a picture to run on an executor, got latents. {way_out}")
    return recipe.to_json(), {picture.address: _png(picture.image) for picture in recipe.pictures.values()}


def run(text: str, pictures: Mapping[str, bytes]) -> Answer:
    """Run a recipe on the worker that calls this; see `packed`.

    Returns
    -------
    tuple
        For `unpacked`. An error of the run is in it, too, so that its line travels whole.
    """

    def work(engine: Engine, recipe: Recipe) -> Answer:
        result = engine.run(recipe, lambda progress: None, threading.Event())
        header = {
            "seconds": result.seconds,
            "fingerprint": dict(result.fingerprint),
            "notices": result.run_notices,
            "nsfw_content_detected": result.nsfw_content_detected,
        }
        return json.dumps(header), [_png(image) for image in result.images]

    return _at_work(work, text, pictures)


def fingerprint(text: str, pictures: Mapping[str, bytes]) -> Answer:
    """Return the fingerprint that a recipe's result would have on the worker that calls this."""
    return _at_work(lambda engine, recipe: (json.dumps({"fingerprint": engine.fingerprint(recipe)}), []), text, pictures)


def unpacked(answer: Answer, recipe: Recipe) -> Result | NbdiffuseError:
    """Return the result or the error that `run` sent back, under the recipe that was sent.

    An answer that is none is an error, too: a worker may be another version, or somebody else's.
    """
    try:
        header, images = json.loads(answer[0]), answer[1]
        if "error" in header:
            return _error(header)
        found = fingerprints.checked(header["fingerprint"])
        ran = str(found.get("scheduler")).removesuffix("Scheduler")
        if recipe.scheduler is None and ran in names():
            # Only the checkpoint's files say it, and they are where the worker is.
            recipe = recipe.replace(scheduler=ran)
        return Result(
            recipe=recipe,
            images=tuple(_picture(png) for png in images),
            initial=fitted_pictures(recipe).get("image"),
            seconds=float(header["seconds"]),
            fingerprint=found,
            # What was done to the pictures that went in is known here: they travel as plain PNG.
            notices=(*before_run(recipe), *map(str, header["notices"])),
            nsfw_content_detected=tuple(map(bool, header["nsfw_content_detected"])),
        )
    except Exception as error:  # what was sent may be anything
        return _no_answer(error)


def fingerprint_of(answer: Answer) -> dict[str, str]:
    """Return what `fingerprint` sent back, or raise its error."""
    try:
        header = json.loads(answer[0])
        failure = _error(header) if "error" in header else None
        found = fingerprints.checked(header["fingerprint"]) if failure is None else {}
    except Exception as error:  # what was sent may be anything
        failure = _no_answer(error)
    if failure is not None:
        raise failure
    return found


def _picture(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        return image.convert("RGB")


def _no_answer(error: Exception) -> RunError:
    reason = str(error) if isinstance(error, NbdiffuseError) else type(error).__name__
    return RunError(f"The worker's answer cannot be used: {reason.rstrip('.')}. Install the same version of nbdiffuse there.")


def _at_work(work: Callable[[Engine, Recipe], Answer], text: str, pictures: Mapping[str, bytes]) -> Answer:
    _leave_the_notebooks_group()
    try:
        # Held until the work is done: the recipe finds its pictures by address.
        held = [Picture.of(png, max_pixels=PILLOW_LIMIT) for png in pictures.values()]
        device = getattr(_here, "device", None)
        with _making:
            lock = _locks.setdefault(device, threading.Lock())
        with lock:
            answer = work(_engine(device), Recipe.from_json(text))
        del held
        return answer
    except Exception as error:
        failure = detached(error)
    return json.dumps({"error": type(failure).__name__, "line": str(failure), "details": failure.details}), []


def _engine(device: str | None) -> Engine:
    # torch and diffusers take seconds to import: on the worker, at its first task.
    if device not in _engines:
        from ..library_logging import silence_libraries

        # A worker's output may be the notebook's, too.
        silence_libraries()
        from ..engine.engine import Engine
        from ..pipelines.pipelines import Pipelines

        _engines[device] = Engine(Pipelines(device))
    return _engines[device]


def _leave_the_notebooks_group() -> None:
    """Take a worker process out of reach of the stop button, which signals the kernel's whole process group.

    The notebook cancels what was not begun; the worker and its pipelines stay.
    """
    if multiprocessing.parent_process() is not None and hasattr(os, "setsid") and os.getsid(0) != os.getpid():
        os.setsid()


def _error(header: Mapping[str, Any]) -> NbdiffuseError:
    kind = getattr(errors, str(header["error"]), RunError)
    is_ours = isinstance(kind, type) and issubclass(kind, NbdiffuseError)
    error: NbdiffuseError = kind(str(header["line"])) if is_ours else RunError(str(header["line"]))
    error.details = str(header["details"])
    return error


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
