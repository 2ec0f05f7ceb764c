"""How much faster 4 steps with `lcm-lora` are than 25 without, and how live a panel is: `python tests/benchmarks/few_steps.py`.

Both run in turns, in one process, at the guidance that each has by default; the ratio is that of the medians. In the panel a
slider of the strength is moved, and the time is told until the picture that belongs to it is shown, its rest included.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings

from nbdiffuse import Recipe, Session, resolve
from nbdiffuse.images.picture import Picture
from nbdiffuse.panels import Panel

PLAIN = Recipe(prompt="a penguin in the snow", num_inference_steps=25, seed=1)
QUICK = PLAIN.replace(num_inference_steps=4, lora="lcm-lora")


def seconds(session: Session, recipe: Recipe) -> float:
    """Return the processor's seconds of one run, decoding included: what else the machine does is not in them."""
    began = time.process_time()
    session.run(recipe)
    return time.process_time() - began


def slider_to_picture(session: Session, recipe: Recipe, strength: float) -> float:
    """Return how long it takes from a move of the strength's slider until its picture is shown, with auto-run on."""
    panel = Panel(recipe, session)
    panel.run()
    panel._thread.settle()
    panel.wait()
    panel._live.value = True
    panel._thread.settle()
    began = time.perf_counter()
    panel._controls._control("strength")._box.value = strength
    while panel.result is None or panel.result.recipe.strength != strength:
        if time.perf_counter() - began > 120:
            raise RuntimeError("no picture came")
        time.sleep(0.005)
    found = time.perf_counter() - began
    panel._live.value = False
    panel.stop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    session = Session()
    recipes = resolve(PLAIN), resolve(QUICK), resolve(QUICK.replace(guidance_scale=1.0))
    for recipe in recipes:  # the first run of each loads
        seconds(session, recipe)
    rounds = [[seconds(session, recipe) for recipe in recipes] for _ in range(given.rounds)]
    slow, *fast = (statistics.median(one) for one in zip(*rounds, strict=True))
    for recipe, one in zip(recipes[1:], fast, strict=True):
        said = f"4 steps with lcm-lora at guidance {recipe.guidance_scale:g} {one:.2f} s: {slow / one:.1f} times faster"
        sys.stdout.write(f"25 steps {slow:.2f} s, {said}\n")
    start = Picture.of("example:penguin")
    for name, recipe in (("25 steps", PLAIN), ("4 steps with lcm-lora", QUICK)):
        moved = [slider_to_picture(session, recipe.replace(image=start, strength=0.5), one) for one in (0.76, 0.9, 1.0)]
        sys.stdout.write(f"slider to picture, {name}: {statistics.median(moved):.2f} s\n")


if __name__ == "__main__":
    main()
