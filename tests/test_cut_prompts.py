"""Words past a text encoder's last token: said exactly when there are any, for every field, with the words."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from nbdiffuse import Recipe, Session
from nbdiffuse.engine.notices import _unseen_words

WORDS = ("cat", "snow", "wizard", "house", "robot")
FIELDS = ("prompt", "negative_prompt")


def words(count: int) -> str:
    return " ".join(itertools.islice(itertools.cycle(WORDS), count))


@pytest.fixture(scope="module")
def pipeline(raw: Callable[[str], Any]) -> Any:
    return raw("StableDiffusionPipeline")


@pytest.mark.parametrize("field", FIELDS)
def test_every_length_is_reported_exactly_when_it_is_cut(field: str, pipeline: Any) -> None:
    tokenizer = pipeline.tokenizer
    assert all(len(tokenizer(word, add_special_tokens=False).input_ids) == 1 for word in WORDS)
    for count in range(1, 401):
        text = words(count)
        # What diffusers itself gives the encoder.
        seen = tokenizer(text, padding="max_length", max_length=tokenizer.model_max_length, truncation=True).input_ids
        kept = tokenizer.decode(seen, skip_special_tokens=True).split()
        lost = text.split()[len(kept) :]
        said = _unseen_words(pipeline, Recipe(**{"prompt": "a cat", field: text}))
        assert len(said) == bool(lost) == (count > 75), count
        if lost:
            assert said[0].startswith(f"`{field}` has {count} tokens and 75 fit") and said[0].endswith(f"{' '.join(lost)!r}")


@pytest.mark.parametrize(
    ("model", "fields"), [("sd15", FIELDS), ("sdxl", (*FIELDS, "prompt_2", "negative_prompt_2")), ("kandinsky22", FIELDS)]
)
def test_a_run_says_it_of_each_field(model: str, fields: tuple[str, ...], session: Session) -> None:
    texts = {"prompt": "a cat"}
    for count in (75, 76):
        for field in fields:
            recipe = Recipe(**{**texts, field: words(count)}, model=model, num_inference_steps=1, seed=1)
            said = [line for line in session.run(recipe).notices if "tokens and" in line]
            assert len(said) == (count > 75), (field, count)
            assert all(line.startswith(f"`{field}` has 76 tokens") and line.endswith("'cat'") for line in said)
