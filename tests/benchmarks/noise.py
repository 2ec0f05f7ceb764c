"""How far schedulers move from a picture, at one strength and at one share of noise: `python tests/benchmarks/noise.py`.

For each strength the share is the median of those that the schedulers begin with at it, so that both move about as far.
The spread is the standard deviation over the schedulers of the likeness (SSIM) to the initial picture, the mean over the
pictures and the strengths. It is told of those that add noise at the start alone, and with those that add some at each step:
these move further from the same beginning, whatever it is.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from nbdiffuse import Recipe, Session, resolve
from nbdiffuse.images.metrics import ssim
from nbdiffuse.images.picture import Picture
from nbdiffuse.recipes.steps import start_noise

QUIET = (
    *("PNDM", "DDIM", "EulerDiscrete", "HeunDiscrete", "DPMSolverMultistep", "UniPCMultistep", "DPMSolverSinglestep"),
    *("KDPM2Discrete", "LMSDiscrete", "DEISMultistep"),
)
"""Schedulers that add noise at the start alone."""
NOISY = ("DDPM", "EulerAncestralDiscrete")
KARRAS = ("EulerDiscrete", "DPMSolverMultistep", "UniPCMultistep")
"""Those that are measured with Karras noise levels, too."""
VARIANTS: tuple[dict[str, Any], ...] = (
    *({"scheduler": name} for name in QUIET),
    *({"scheduler": name, "use_karras_sigmas": True} for name in KARRAS),
    *({"scheduler": name} for name in NOISY),
)
STEPS = 20


def likenesses(session: Session, picture: str, strength: float, seeds: int) -> tuple[list[float], list[float]]:
    """Return the mean SSIM of each variant's results to their initial picture, at equal strength and at equal noise."""
    recipe = Recipe(prompt="in the snow", image=Picture.of(f"example:{picture}"), num_inference_steps=STEPS, seed=1)
    shares = [start_noise(resolve(recipe.replace(strength=strength, **one))) or 0.0 for one in VARIANTS]
    moved = recipe.replace(strength=strength), recipe.replace(noise=round(statistics.median(shares), 2))
    by_strength, by_noise = ([_mean(session, one.replace(**variant), seeds) for variant in VARIANTS] for one in moved)
    return by_strength, by_noise


def _mean(session: Session, recipe: Recipe, seeds: int) -> float:
    results: list[Any] = [session.run(resolve(recipe.replace(seed=seed))) for seed in range(1, seeds + 1)]
    return statistics.mean(ssim(one.initial, one.image) for one in results)


def line(title: str, pairs: Sequence[tuple[list[float], list[float]]], count: int) -> str:
    """Say how far apart the first so many variants are."""
    strength, noise = (statistics.mean(statistics.pstdev(pair[side][:count]) for pair in pairs) for side in (0, 1))
    return f"{title}: {strength:.4f} at equal strength, {noise:.4f} at equal noise, 1/{strength / noise:.1f} of it\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", nargs="+", default=("penguin", "astronaut", "cat", "house"))
    parser.add_argument("--strengths", nargs="+", type=float, default=(0.3, 0.5, 0.7))
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    session = Session()
    pairs = [likenesses(session, picture, strength, given.seeds) for picture in given.pictures for strength in given.strengths]
    quiet = len(VARIANTS) - len(NOISY)
    sys.stdout.write(line(f"spread of SSIM over {quiet} schedulers", pairs, quiet))
    sys.stdout.write(line(f"with {' and '.join(NOISY)}", pairs, len(VARIANTS)))


if __name__ == "__main__":
    main()
