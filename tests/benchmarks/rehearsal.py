"""The guide's large pipelines at full size with random weights: `python tests/benchmarks/rehearsal.py`.

Prints, per pipeline, seconds of the raw diffusers call, nbdiffuse's time over it (goal: at
most 1.01), the share of the device's matrix peak, and peak memory. The peak is measured
with one large matrix product in the same dtype. Both calls run in turn in one process on
the same weights, each time with another prompt, picture and seed, so that nothing is
reused and the ratio holds when the machine's speed drifts. Random weights cost what
trained ones do. Nothing is downloaded; it needs 10 GB of disk in the temporary folder.

No figure from a GPU has been taken yet: the machines that this was written on have none.
Full size runs on a CPU, too (`--device cpu`, with `--steps 4`); `--small` shows at an
eighth of the width that the script works, and its figures say nothing about full size.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import full_size
import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

import nbdiffuse
from nbdiffuse import Recipe, Session
from nbdiffuse.devices.memory import format_size
from nbdiffuse.devices.optimizations import POSITIONS
from nbdiffuse.library_logging import silence_libraries

PROMPT = "Astronaut in a jungle, cold color palette, muted colors, detailed, 8k"


@dataclass(frozen=True)
class Case:
    """One pipeline: preset, diffusers class, side in pixels, and the recipe's values as in the guide."""

    title: str
    model: str
    pipeline: str
    side: int
    values: dict[str, Any]
    controlled: bool = False


CASES = (
    Case("sd15 img2img", "sd15", "StableDiffusionImg2ImgPipeline", 512, {"strength": 0.8}),
    Case("sd15 img2img + ControlNet", "sd15", "StableDiffusionControlNetImg2ImgPipeline", 512, {"strength": 0.8}, True),
    Case("sdxl-refiner img2img", "sdxl-refiner", "StableDiffusionXLImg2ImgPipeline", 1024, {"strength": 0.5}),
)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def noise(side: int, seed: int) -> Image.Image:
    """Make a picture that no cache holds."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


def seconds(work: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begun = time.perf_counter()
    made = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun, made


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Measure the device's rate for one large square matrix product, in operations a second."""
    side, times = (8192, 20) if device.type == "cuda" else (1024, 5)
    one = torch.randn(side, side, device=device, dtype=dtype)
    one @ one
    best = min(seconds(lambda: [one @ one for _ in range(times)], device)[0] for _ in range(3))
    return times * 2 * side**3 / best


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that were taken: on the GPU since the last reset, or of RAM by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(
    case: Case, session: Session, word: str, controlnet: str, side: int, steps: int, pairs: int, compiled: bool
) -> dict[str, Any]:
    """Run one case by nbdiffuse and by hand in turn."""

    def recipe(seed: int) -> Recipe:
        given = {"image": noise(side, seed), "seed": seed, "num_inference_steps": steps, "width": side, "height": side}
        control = {"controlnet": controlnet, "control_image": noise(side, -seed - 1 + 2**32)} if case.controlled else {}
        values = {**given, **control, **case.values}
        return Recipe(prompt=f"{PROMPT} {seed}", model=case.model, checkpoint=word, **values)

    load, _ = seconds(lambda: session.run(recipe(0)), torch.device("cpu"))
    scheduler = str(nbdiffuse.resolve(recipe(0)).scheduler)
    extras = {"controlnet": controlnet} if case.controlled else {}

    def by_hand(seed: int) -> Any:
        mine = recipe(seed)
        control = {"control_image": mine.controlnets[0].image.image} if case.controlled else {}
        # A fresh pipeline of diffusers' own class around the same weights, as a person would keep it.
        pipeline = session.with_pipelines(lambda held: held.acquire(word, case.pipeline, scheduler, extras))
        generator = torch.Generator("cpu").manual_seed(seed)
        return lambda: pipeline(
            mine.prompt, image=mine.image.image, num_inference_steps=steps, generator=generator, **control, **case.values
        ).images[0]

    device = session.with_pipelines(lambda held: held.device)
    dtype = session.with_pipelines(lambda held: held.dtype)
    by_hand(1)()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    ratios, raw, equal = [], [], True
    for turn in range(pairs):
        seed = 2 + turn
        work = by_hand(seed)
        hand, theirs = seconds(work, device)
        mine, result = seconds(lambda seed=seed: session.run(recipe(seed)), device)  # type: ignore[misc]
        ratios.append(mine / hand)
        raw.append(hand)
        equal = equal and result.image.tobytes() == theirs.tobytes()
    memory = peak_memory(device)
    faster = 0.0
    if compiled:
        for optimization in ("compile", "channels_last"):
            session.with_pipelines(lambda held, optimization=optimization: held.set_optimization(optimization, "on"))  # type: ignore[misc]
        # The first run compiles.
        times = [seconds(lambda seed=seed: session.run(recipe(seed)), device)[0] for seed in range(100, 101 + pairs)]  # type: ignore[misc]
        faster = statistics.median(raw) / statistics.median(times[1:])
        for optimization in ("compile", "channels_last"):
            session.with_pipelines(lambda held, optimization=optimization: held.set_optimization(optimization, "off"))  # type: ignore[misc]
    with FlopCounterMode(display=False) as counter:
        by_hand(1)()
    return {
        "load": load - statistics.median(raw),
        "raw": statistics.median(raw),
        "ratio": statistics.median(ratios),
        "share": counter.get_total_flops() / statistics.median(raw) / matrix_peak(device, dtype),
        "memory": memory,
        "faster": faster,
        "equal": equal,
    }


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--small", action="store_true", help="an eighth of the width, pictures of 128 pixels, 10 steps")
    rows = range(1, len(CASES) + 1)
    parser.add_argument("--cases", nargs="+", type=int, choices=rows, default=rows, help="rows of the table; all by default")
    parser.add_argument("--compiled", action="store_true", help="also with `compile` and `channels_last` on; goal 1.5 on a GPU")
    parser.add_argument("--pairs", type=int, default=5, help="how often each case runs both ways")
    parser.add_argument("--dtype", default="auto", choices=POSITIONS["dtype"])
    parser.add_argument("--steps", type=int, help="num_inference_steps of every call; 50, and 10 when small")
    asked = parser.parse_args()
    if asked.device.startswith("cuda") and not torch.cuda.is_available():
        say("No GPU is here. `--device cpu` measures on this machine, and `--small` shows in a minute that the script works.")
        return
    silence_libraries()
    session = Session(asked.device)
    session.with_pipelines(lambda held: held.set_optimization("dtype", asked.dtype))
    part, steps = (8, 10) if asked.small else (1, 50)
    steps = asked.steps or steps
    dtype = session.with_pipelines(lambda held: held.dtype)
    name = torch.cuda.get_device_name() if asked.device.startswith("cuda") else f"CPU, {torch.get_num_threads()} thread(s)"
    say(f"{name}, torch {torch.__version__}, {dtype}, {'an eighth of the width' if asked.small else 'full size'}, {steps} steps")
    columns = "pipeline | side | raw call | nbdiffuse / raw | of matrix peak | peak memory | load | same pixels"
    say(columns + (" | raw / compiled" if asked.compiled else ""))
    with tempfile.TemporaryDirectory() as folder:
        nets = str(full_size.write("controlnet", Path(folder), part, dtype))
        for case in (CASES[number - 1] for number in asked.cases):
            word = Path(folder) / case.model
            if not word.exists():
                full_size.write(case.model, Path(folder), part, dtype)
            side = 128 if asked.small else case.side
            found = measure(case, session, str(word), nets, side, steps, asked.pairs, asked.compiled)
            say(
                f"{case.title} | {side} | {found['raw']:.2f} s | {found['ratio']:.3f} | {found['share']:.0%}"
                f" | {format_size(found['memory'])} | {found['load']:.1f} s | {'yes' if found['equal'] else 'NO'}"
                + (f" | {found['faster']:.2f}" if asked.compiled else "")
            )


if __name__ == "__main__":
    main()
