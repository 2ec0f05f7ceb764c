"""The guide's sections in order, through nbdiffuse and by the guide's own way: `python tests/benchmarks/guide.py [--steps N]`.

The guide loads a checkpoint in most sections; nbdiffuse loads each once, runs the
pictures of one section together, and does not draw again what a chain's first step has
drawn before. Both make the same pictures, those of the guide's code and those it shows
beside it, on the checkpoints in this package, in processes of their own, one after the
other. "Optimise" makes no picture.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import diffusers
import torch

import nbdiffuse
from nbdiffuse import embedded
from nbdiffuse.checkpoints import loading
from nbdiffuse.embedded.world import sample

JUNGLE = "Astronaut in a jungle, cold color palette, muted colors, detailed, 8k"
WIZARD = "cat wizard, gandalf, lord of the rings, detailed, fantasy, cute, adorable, Pixar, Disney, 8k"
UGLY = "ugly, deformed, disfigured, poor details, bad anatomy"
START = sample(3_000_110)
IMG2IMG = "StableDiffusionImg2ImgPipeline"
KANDINSKY = "KandinskyV22Img2ImgCombinedPipeline"
XL = "StableDiffusionXLImg2ImgPipeline"

Step = tuple[str, str, dict[str, Any]]
"""A model, diffusers' class for it, and the call's arguments; the picture is the step's before where there is one.

A list in the place of an argument is what the section shows side by side.
"""
SECTIONS: dict[str, list[Step]] = {
    "quick start": [("kandinsky22", KANDINSKY, {"prompt": WIZARD})],
    "stable diffusion v1.5": [("sd15", IMG2IMG, {"prompt": JUNGLE})],
    "stable diffusion xl": [("sdxl-refiner", XL, {"prompt": JUNGLE, "strength": 0.5})],
    "kandinsky 2.2": [("kandinsky22", KANDINSKY, {"prompt": JUNGLE})],
    "strength": [("sd15", IMG2IMG, {"prompt": JUNGLE, "strength": [0.8, 0.4, 0.6, 1.0]})],
    "guidance scale": [("sd15", IMG2IMG, {"prompt": JUNGLE, "guidance_scale": [8.0, 0.1, 5.0, 10.0]})],
    "negative prompt": [("sdxl-refiner", XL, {"prompt": JUNGLE, "negative_prompt": [UGLY, "jungle"]})],
    "text to image to image": [
        ("sd15", "StableDiffusionPipeline", {"prompt": JUNGLE}),
        ("kandinsky22", KANDINSKY, {"prompt": JUNGLE}),
    ],
    "image to image to image": [
        ("sd15", IMG2IMG, {"prompt": JUNGLE}),
        ("comic", IMG2IMG, {"prompt": "Astronaut in a jungle, charliebo artstyle"}),
        ("pixel-art", IMG2IMG, {"prompt": "Astronaut in a jungle, pixelartstyle"}),
    ],
    "image to upscaler to super-resolution": [
        ("sd15", IMG2IMG, {"prompt": JUNGLE}),
        ("x2-upscaler", "StableDiffusionLatentUpscalePipeline", {"prompt": JUNGLE}),
        ("x4-upscaler", "StableDiffusionUpscalePipeline", {"prompt": JUNGLE}),
    ],
    "prompt weighting": [("sd15", IMG2IMG, {"prompt": "Astronaut++ in a jungle-", "weighting": "compel"})],
    "controlnet": [
        ("sd15", "StableDiffusionControlNetImg2ImgPipeline", {"prompt": JUNGLE}),
        ("elden-ring", IMG2IMG, {"prompt": "elden ring style astronaut in a jungle", "negative_prompt": UGLY, "strength": 0.45}),
    ],
}


def _calls(call: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one call for each value of the argument that is a list."""
    several = next((name for name, value in call.items() if isinstance(value, list)), None)
    return [call] if several is None else [{**call, several: value} for value in call[several]]


def _weighed(pipeline: Any, call: dict[str, Any]) -> dict[str, Any]:
    """Encode the prompts with Compel, as the guide does."""
    import compel

    encode = compel.CompelForSD(pipeline)(call["prompt"])
    return {"prompt_embeds": encode.embeds, "negative_prompt_embeds": encode.negative_embeds}


def by_hand(steps_of_all: dict[str, int]) -> tuple[float, int]:
    """Run every section as the guide does, loading at every step; return seconds and loads."""
    loads, started = 0, time.perf_counter()
    for steps in SECTIONS.values():
        image: Any = START.image
        for model, pipeline_class, call in steps:
            components = {}
            if "ControlNet" in pipeline_class:
                components["controlnet"] = diffusers.ControlNetModel.from_pretrained(embedded.path("controlnet-depth"))
            pipeline = getattr(diffusers, pipeline_class).from_pretrained(embedded.path(model), **components)
            loads += 1 + len(components)
            pipeline.set_progress_bar_config(disable=True)
            given = {} if pipeline_class == "StableDiffusionPipeline" else {"image": image}
            given |= {"control_image": START.depth.convert("RGB")} if components else {}
            given |= {"width": 128, "height": 128} if model == "kandinsky22" else {}
            for one in _calls(call):
                asked = _weighed(pipeline, one) if "weighting" in one else one
                made = pipeline(generator=torch.Generator("cpu").manual_seed(7), **given, **asked, **steps_of_all).images[0]
            image = made
    return time.perf_counter() - started, loads


def through_cells(steps_of_all: dict[str, int]) -> tuple[float, int]:
    """Run every section through one session; return seconds and loads."""
    loads: list[str] = []
    load = loading.load

    def counted(checkpoint: Any, *rest: Any) -> Any:
        loads.append(checkpoint.name)
        return load(checkpoint, *rest)

    loading.load = counted
    started = time.perf_counter()
    for steps in SECTIONS.values():
        recipes = []
        for number, (model, pipeline_class, call) in enumerate(steps):
            image = {"image": START.image} if number == 0 and pipeline_class != "StableDiffusionPipeline" else {}
            control = {"controlnet": "depth", "control_image": START.depth} if "ControlNet" in pipeline_class else {}
            several = {name: value for name, value in call.items() if isinstance(value, list)}
            single = {name: value for name, value in call.items() if name not in several}
            recipes.append(nbdiffuse.Recipe(model=model, seed=7, **image, **control, **single, **steps_of_all))
            if several:
                nbdiffuse.sweep(recipes.pop(), **several).run()
        if recipes:
            nbdiffuse.run(nbdiffuse.Chain(tuple(recipes)) if len(recipes) > 1 else recipes[0])
    return time.perf_counter() - started, len(loads)


def main() -> None:
    """Run both ways in processes of their own and print seconds, loads and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, help="num_inference_steps of every call, in place of the pipelines' own")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    steps_of_all = {"num_inference_steps": asked.steps} if asked.steps else {}
    if asked.only:
        seconds, loads = {"hand": by_hand, "cells": through_cells}[asked.only](steps_of_all)
        sys.stdout.write(json.dumps([seconds, loads]) + "\n")
        return
    rows = {}
    for way in ("hand", "cells"):
        # What an earlier run left on the disk must not answer for this one.
        with tempfile.TemporaryDirectory() as cache:
            command = [sys.executable, __file__, "--only", way, *sys.argv[1:]]
            surroundings = {**os.environ, "NBDIFFUSE_CACHE": cache}
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=surroundings)
            rows[way] = json.loads(done.stdout.splitlines()[-1])
    lines = [f"{len(SECTIONS)} sections", "way          seconds  loads"]
    lines += [f"{name:<12} {seconds:7.1f} {loads:6d}" for name, (seconds, loads) in rows.items()]
    lines.append(f"ratio {rows['hand'][0] / rows['cells'][0]:.2f}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
