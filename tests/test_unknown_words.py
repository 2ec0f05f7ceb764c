"""What the small checkpoints cannot draw is said in one line, and nothing is said of what they can."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nbdiffuse import Recipe, resolve
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.embedded import world
from nbdiffuse.embedded.world import captions, vocabulary
from nbdiffuse.prompts.unknown_words import unknown_words
from nbdiffuse.recipes.notices import before_run

ROOT = Path(__file__).parents[1]
CANNOT = """a red bicycle
a dog in the snow
a lighthouse on a cliff, stormy sea
portrait of a woman with long hair
a bowl of fruit on a table
a horse galloping through a field
sports car, neon lights, rain
a cat riding a bicycle
an astronaut riding a horse
a robot playing a guitar in the city
a dragon over the mountains
a castle at night
a sailing boat by the ocean
sunset over a lake
a butterfly on a flower
cup of coffee
a bouquet of roses in a vase
an old man reading a newspaper
a train in the desert
a bear in the jungle
an elephant
a pirate ship
a wolf howling at the moon
a knight in shining armor
an owl
a plate of spaghetti
a mermaid
an ice cream cone
a skyscraper
a medieval village, detailed, 8k
lion, digital art
a fox in the snow, cute, Pixar
a family on the beach
a violin
a unicorn in a city
a spaceship landing on mars
a bridge over a river
a piano in a house
waterfall
a vase with sunflowers, oil painting
a samurai at night
a steam locomotive
a giraffe wearing a hat
Eiffel tower
a hamburger with fries
ein rotes Fahrrad
a turtle by the ocean
a snowman in the snow
three zebras
(a teapot:1.3), masterpiece""".splitlines()
CAN = [
    "cat wizard, gandalf, lord of the rings, detailed, fantasy, cute, adorable, Pixar, Disney, 8k",
    "Astronaut in a jungle, cold color palette, muted colors, detailed, 8k",
    "Astronaut in a jungle, charliebo artstyle",
    "Astronaut in a jungle, pixelartstyle",
    "elden ring style astronaut in a jungle",
    "Astronaut++ in a jungle--, cold color palette",
    "Astronaut in a {(jungle)0.5|jungle|(jungle)1.5}, muted colors",
    '("a cat in the snow", "a robot at night").blend(0.5, 0.5)',
    "(a robot:1.2) in the (snow:0.8)",
    "",
    "masterpiece, best quality, highly detailed",
    "two cats in the snow",
    "an oil painting of a penguin in the snow",
    "photo of an astronaut on a white background",
    "A majestic cat in a jungle",
    "a cozy little house in the mountains at night",
]


def written_prompts() -> list[str]:
    """Return every prompt of the notebooks."""
    found: list[str] = []
    for file in sorted(ROOT.glob("notebooks/*.ipynb")):
        cells = json.loads(file.read_text("utf-8"))["cells"]
        for source in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"):
            found += re.findall(r'prompt="([^"]+)"', source)
            head, _, body = source.partition("\n")
            if head.startswith(("%%img2img", "%%txt2img", "%%edit")):
                task, _, line = head[2:].partition(" ")
                asked = parse_cell(task, line, body)
                if asked.out == "cannot":  # It shows what the lines are about.
                    continue
                found += [str(asked.values.get("prompt", ""))]
                found += [str(one) for one in asked.axes.get("prompt", ())]
            elif head.startswith("%%"):
                found += [line for line in body.splitlines() if not line.startswith(("[", "Negative"))]
    return found


def test_every_prompt_that_names_what_is_not_there_is_caught() -> None:
    assert [prompt for prompt in CANNOT if not unknown_words(prompt)] == []


def test_no_prompt_of_the_guide_the_notebooks_or_the_world_is_a_false_alarm() -> None:
    prompts = written_prompts()
    assert len(prompts) > 40
    rng = random.Random(1)
    for _ in range(500):
        drawn = (rng.choice([None, *kind]) for kind in (world.SUBJECTS, world.PLACES, world.PALETTES, world.STYLES))
        prompts.append(captions.assemble(rng, *drawn, flaws=rng.random() < 0.3))
    assert {prompt: found for prompt in [*CAN, *prompts] if (found := unknown_words(prompt))} == {}


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a red bicycle", ("bicycle",)),
        ("a cat riding a bicycle in the snow", ("bicycle",)),
        ("A DOG, a dog and another dog", ("dog",)),
        ("a herd of cats", ()),
        ("mountains", ()),
    ],
)
def test_the_words_are_named(prompt: str, words: tuple[str, ...]) -> None:
    assert unknown_words(prompt) == words


def test_the_vocabulary_is_what_captions_are_made_of() -> None:
    rng = random.Random(2)
    for _ in range(2000):
        drawn = (rng.choice([None, *kind]) for kind in (world.SUBJECTS, world.PLACES, world.PALETTES, world.STYLES))
        assert set(vocabulary.words(captions.assemble(rng, *drawn, flaws=True))) <= vocabulary.KNOWN
    assert vocabulary.NAMING <= vocabulary.KNOWN


def said(recipe: Recipe) -> list[str]:
    return [line for line in before_run(resolve(recipe)) if "never shown" in line]


def test_the_line_says_the_way_to_a_large_model_and_only_of_the_small_ones(tmp_path: Path) -> None:
    for model in ("sd15", "sdxl", "kandinsky22", "comic"):
        (line,) = said(Recipe(prompt="a red bicycle, charliebo artstyle", model=model))
        assert '"bicycle"' in line and "`%diffuse use hub`" in line and "`--checkpoint`" in line and model in line
    assert said(Recipe(prompt="a red bicycle", model="stable-diffusion-v1-5/stable-diffusion-v1-5")) == []
    assert said(Recipe(prompt="a red bicycle", lora="bicycles.safetensors")) == []
    (line,) = said(Recipe(prompt=", ".join(f"a {word}" for word in ["dog", "cow", "pig", "hen", "owl", "bat", "elk"])))
    assert "and 2 more" in line


def test_it_imports_no_heavy_library() -> None:
    code = (
        "import sys; from nbdiffuse.prompts.unknown_words import unknown_words; assert unknown_words('a red bicycle');"
        "print(sorted({'torch', 'diffusers', 'transformers', 'ipywidgets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
