"""How much faster a grid is than a loop of raw diffusers calls: `python tests/benchmarks/grid.py`.

Both draw the same pictures in one process from one checkpoint, in turn, so the ratio
holds when the machine's speed drifts. Ratios are of wall time, and of the processor
time of all cores together, which other programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import full_size
import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline

import nbdiffuse
from nbdiffuse import Recipe
from nbdiffuse.runs.grid import Grid
from nbdiffuse.sweeps.sweep import Sweep

PROMPT = "cat wizard, gandalf, lord of the rings, detailed, fantasy, cute"


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall time and processor time in seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def compared(checkpoint: str, size: int | None, strengths: Sequence[float], guidances: Sequence[float], steps: int) -> str:
    """Draw one grid both ways, and say how they compare."""
    start = nbdiffuse.embedded.world.sample(3_000_003).image
    start = start if size is None else start.resize((size, size))
    dtype = torch.float16 if torch.cuda.is_available() else torch.float32
    raw = StableDiffusionImg2ImgPipeline.from_pretrained(checkpoint, dtype=dtype)
    raw.to("cuda" if torch.cuda.is_available() else "cpu").set_progress_bar_config(disable=True)
    recipe = Recipe(prompt=PROMPT, image=start, checkpoint=checkpoint, num_inference_steps=steps, seed=7, width=size, height=size)
    by_hand: list[np.ndarray] = []
    by_grid: list[np.ndarray] = []

    def loop() -> None:
        by_hand.clear()
        for strength, guidance_scale in itertools.product(strengths, guidances):
            values = {"strength": strength, "guidance_scale": guidance_scale, "num_inference_steps": steps}
            made = raw(PROMPT, image=start, generator=torch.Generator("cpu").manual_seed(7), **values)
            by_hand.append(np.asarray(made.images[0], int))

    def grid() -> None:
        made = Grid(Sweep.of(recipe, strength=strengths, guidance_scale=guidances)).run()
        by_grid[:] = [np.asarray(result.image, int) for result in made]

    nbdiffuse.run(recipe)
    raw(PROMPT, image=start, num_inference_steps=2)
    (grid_wall, grid_cpu), (hand_wall, hand_cpu) = timed(grid), timed(loop)
    worst = max(int(np.abs(one - other).max()) for one, other in zip(by_hand, by_grid, strict=True))
    return (
        f"{len(strengths)} x {len(guidances)}: ratio {hand_wall / grid_wall:.2f} (processor {hand_cpu / grid_cpu:.2f});"
        f" loop {hand_wall:.1f} s, grid {grid_wall:.1f} s; pixels differ by at most {worst}/255"
    )


def main() -> None:
    """Print a line for each grid."""
    parser = argparse.ArgumentParser(description=__doc__)
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--checkpoint", default="sd15", help="of the SD 1.5 family: an embedded name, a hub id or a directory")
    weights.add_argument("--full-size", action="store_true", help="SD 1.5 at its true size with random weights")
    parser.add_argument("--size", type=int, help="side of the pictures in pixels; the initial picture's or, at full size, 512")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--growth", action="store_true", help="also from 1 to 100 cells")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if asked.full_size:
            dtype = torch.float16 if torch.cuda.is_available() else torch.float32
            asked.checkpoint, asked.size = str(full_size.write("sd15", Path(folder), 1, dtype)), asked.size or 512
        elif asked.checkpoint == "sd15":
            asked.checkpoint = str(nbdiffuse.embedded.path("sd15"))
        _tell(asked)


def _tell(asked: argparse.Namespace) -> None:
    machine = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} threads"
    spread = [round(0.2 + 0.2 * step, 1) for step in range(5)]
    shapes = [(1, 1), (2, 2), (5, 5), (10, 10)] if asked.growth else [(5, 5)]
    for rows, columns in shapes:
        strengths = spread[:rows] if rows <= 5 else [round((1 + step) / rows, 2) for step in range(rows)]
        strengths = [statistics.median(spread)] if rows == 1 else strengths
        line = compared(asked.checkpoint, asked.size, strengths, [1.5 + 1.5 * step for step in range(columns)], asked.steps)
        sys.stdout.write(f"{machine}, {line}\n")


if __name__ == "__main__":
    main()
