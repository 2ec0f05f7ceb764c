"""How much the cell magic adds to a raw diffusers call: `python tests/benchmarks/overhead.py`.

Both run in turn in one process on the same checkpoint, so the ratio holds when the
machine's speed drifts.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import torch
from diffusers import StableDiffusionImg2ImgPipeline
from ipykernel.zmqshell import ZMQInteractiveShell

import nbdiffuse

PROMPT = "cat wizard, gandalf, lord of the rings, detailed, fantasy, cute"


def main() -> None:
    """Print the medians and the ratio, pair by pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    pairs = parser.parse_args().pairs
    shell = ZMQInteractiveShell.instance()
    shell.kernel = None  # the magic animates its display where there is a kernel
    shell.display_pub.publish = lambda *args, **kwargs: None
    shell.run_line_magic("load_ext", "nbdiffuse")
    start = nbdiffuse.embedded.world.sample(3_000_003).image
    shell.user_ns["start"] = start
    raw = StableDiffusionImg2ImgPipeline.from_pretrained(nbdiffuse.embedded.path("sd15"))
    raw.set_progress_bar_config(disable=True)

    def by_hand() -> None:
        raw(PROMPT, image=start, generator=torch.Generator("cpu").manual_seed(7))

    def by_magic() -> None:
        shell.run_cell_magic("img2img", "start --seed 7", PROMPT)

    def seconds(work: object) -> float:
        begun = time.perf_counter()
        work()  # type: ignore[operator]
        return time.perf_counter() - begun

    for work in (by_hand, by_magic):
        seconds(work)
    times = [(seconds(by_magic), seconds(by_hand)) for _ in range(pairs)]
    ratios = [magic / hand for magic, hand in times]
    magic, hand = (statistics.median(column) for column in zip(*times, strict=True))
    sys.stdout.write(
        f"magic {magic:.3f} s, raw call {hand:.3f} s, ratio: median {statistics.median(ratios):.3f} of {pairs} pairs\n"
    )


if __name__ == "__main__":
    main()
