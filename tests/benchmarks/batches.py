"""How fast a batch is beside a loop of raw diffusers calls, and two local processes beside one: ratios within one run.

    python tests/benchmarks/batches.py [--pictures 32] [--pairs 3] [--dask]

Prints a line for each pair and the medians. Weights are loaded before anything is timed. The loop reads and writes its
files as a batch does. Other work on the machine slows both sides of a pair, which are timed one after the other.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import nbdiffuse
from nbdiffuse import Recipe
from nbdiffuse.embedded import world

RECIPE = Recipe(prompt="a penguin in the snow", num_inference_steps=20, strength=0.6, seed=3)


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Return wall time and this process's processor time, which other work disturbs less, in seconds."""
    begun, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begun, time.process_time() - cpu


def raw_loop(files: list[Path], out: Path) -> Callable[[], None]:
    """Return a loop of plain calls, as a person types it, with its weights loaded."""
    from diffusers import StableDiffusionImg2ImgPipeline

    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(nbdiffuse.embedded.path("sd15"))
    pipeline.set_progress_bar_config(disable=True)

    def loop() -> None:
        out.mkdir()
        for file in files:
            made = pipeline(
                RECIPE.prompt,
                Image.open(file).convert("RGB"),
                strength=0.6,
                num_inference_steps=20,
                generator=torch.Generator().manual_seed(3),
            ).images[0]
            made.save(out / file.name)

    return loop


def cluster(count: int) -> Any:
    """Return a client of so many worker processes with a thread each, whose weights are loaded."""
    from nbdiffuse.sessions import named_executors

    client = named_executors._client([{"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}] * count)
    # One run on each.
    packed = nbdiffuse.sessions.remote.packed(nbdiffuse.resolve(RECIPE.replace(image=world.sample(3_000_003).image)))
    client.run(nbdiffuse.sessions.remote.run, *packed)
    return client


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--pictures", type=int, default=32)
    options.add_argument("--pairs", type=int, default=3)
    options.add_argument("--dask", action="store_true")
    asked = options.parse_args()
    place = Path(tempfile.mkdtemp())
    photos = place / "photos"
    photos.mkdir()
    files = [photos / f"p{number:03d}.png" for number in range(asked.pictures)]
    for number, file in enumerate(files):
        world.sample(3_000_100 + number).image.save(file)

    def run(name: str, **how: Any) -> Callable[[], Any]:
        return lambda: nbdiffuse.batch(RECIPE, photos, folder=place / name, **how).run()

    ratios = []
    if asked.dask:
        one, two = cluster(1), cluster(2)
        for pair in range(asked.pairs):
            single, _ = timed(run(f"one{pair}", executor=one.get_executor(pure=False)))
            double, _ = timed(run(f"two{pair}", executor=two.get_executor(pure=False)))
            ratios.append(single / double)
            sys.stdout.write(f"one process {single:.1f} s, two {double:.1f} s: {ratios[-1]:.2f} x\n")
    else:
        nbdiffuse.get_session().run(RECIPE.replace(image=world.sample(3_000_003).image))
        for pair in range(asked.pairs):
            loop, loop_cpu = timed(raw_loop(files, place / f"raw{pair}"))
            batch, batch_cpu = timed(run(f"batch{pair}"))
            ratios.append(loop / batch)
            cpu = f"{loop_cpu:.1f} s and {batch_cpu:.1f} s of the processor: {loop_cpu / batch_cpu:.2f} x"
            sys.stdout.write(f"loop {loop:.1f} s, batch {batch:.1f} s: {ratios[-1]:.2f} x; {cpu}\n")
    sys.stdout.write(f"median {statistics.median(ratios):.2f} x over {asked.pairs} pairs of {asked.pictures} pictures\n")


if __name__ == "__main__":
    main()
