"""The token view: what an encoder sees of a prompt, without loading an encoder."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from nbdiffuse import Recipe, Session
from nbdiffuse.errors import CheckpointError, ParameterError
from nbdiffuse.magics.commands import tokens
from nbdiffuse.prompts.tokens import EncoderTokens, Token, TokenView

LONG = ", ".join(["detailed"] * 45) + ", zebra"


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.write("sdxl", tmp_path_factory.mktemp("tokens")))


def seen(encoder: EncoderTokens) -> list[tuple[str, float]]:
    return [(token.text, token.weight) for chunk in encoder.chunks for token in chunk]


def test_words_show_their_weights_in_either_dialect(session: Session) -> None:
    expected = [("a", 1.0), ("jungle", 1.21), (",", 1.0), ("cold", 0.7), ("palette", 0.7)]
    for dialect, prompt in (("compel", "a jungle++, (cold palette)0.7"), ("a1111", "a ((jungle)), (cold palette:0.7)")):
        view = session.tokens(Recipe(prompt=prompt, negative_prompt="snow", weighting=dialect))
        assert seen(view.encoder_tokens[0]) == expected
        assert [encoder.field for encoder in view.encoder_tokens] == ["prompt", "negative_prompt"]
    assert "a [jungle]×1.21 , [cold palette]×0.7" in repr(view)


def test_nothing_is_loaded_for_it() -> None:
    fresh = Session()
    fresh.tokens(Recipe(prompt="a cat++", weighting="compel"))
    assert fresh.with_pipelines(lambda pipelines: pipelines.table()) == []


def test_without_weighting_it_shows_what_diffusers_cuts(session: Session, raw: Callable[[str], Any]) -> None:
    encoder = session.tokens(Recipe(prompt=LONG)).encoder_tokens[0]
    tokenizer = raw("StableDiffusionPipeline").tokenizer
    kept = tokenizer(LONG, truncation=True, max_length=77).input_ids[1:-1]
    assert len(encoder.chunks[0]) == len(kept) == 75
    assert " ".join(token.text for token in encoder.chunks[0]) == " ".join(tokenizer.decode([one]).strip() for one in kept)
    assert "".join(token.text for token in encoder.lost).endswith("zebra")
    assert "not seen: " in repr(session.tokens(Recipe(prompt=LONG)))


@pytest.mark.parametrize("prompt", [LONG, "a red cat++. " * 40, '("a cat", "a dog++").and()', "x"])
def test_the_chunks_are_those_that_the_encoder_gets(prompt: str, session: Session) -> None:
    recipe = Recipe(prompt=prompt, weighting="compel", num_inference_steps=1, seed=1, guidance_scale=1.0)
    view = session.tokens(recipe)
    session.run(Recipe(prompt="warm up", num_inference_steps=1, seed=1))
    assert session._engine is not None
    components = session._engine.pipelines.components("sd15")
    encoder, tokenizer = components["text_encoder"], components["tokenizer"]
    fed: list[torch.Tensor] = []
    hook = encoder.register_forward_pre_hook(lambda module, inputs: fed.append(inputs[0]))
    session._engine.embedding_cache.clear()
    try:
        session.run(recipe)
    finally:
        hook.remove()
    seen_by = [encoder for encoder in view.encoder_tokens if encoder.field == "prompt"]
    shown = ["".join(token.text for token in chunk) for encoder in seen_by for chunk in encoder.chunks]
    given = [tokenizer.decode(ids[0], skip_special_tokens=True).replace(" ", "") for ids in fed]
    assert set(shown) <= set(given)
    assert not any(encoder.lost for encoder in seen_by)


def test_characters_of_several_tokens_are_readable(session: Session) -> None:
    encoder = session.tokens(Recipe(prompt="café 日本 🐱")).encoder_tokens[0]
    text = "".join(token.text for token in encoder.chunks[0]).replace("‥", "")
    assert text == "café日本🐱"


def test_each_text_encoder_has_its_own_lines_where_they_differ(sdxl: str, session: Session) -> None:
    recipe = Recipe(prompt="a cat++", model="sdxl", checkpoint=sdxl, weighting="compel")
    same, other = session.tokens(recipe), session.tokens(recipe.replace(prompt_2="a cat"))
    assert "prompt, both text encoders, 2 of 75 tokens" in repr(same)
    assert "prompt, text encoder 1, 2 of 75 tokens" in repr(other) and "prompt_2, text encoder 2, 2 of 75" in repr(other)


def test_parts_and_blends_are_named(session: Session) -> None:
    blend = session.tokens(Recipe(prompt='("a cat", "a dog").blend(.7, .3)', weighting="compel"))
    assert [encoder.part for encoder in blend.encoder_tokens[:2]] == ["blend 0.7", "blend 0.3"]
    parts = session.tokens(Recipe(prompt='("a cat", "a dog").and(1, .5)', weighting="compel"))
    assert [encoder.part for encoder in parts.encoder_tokens[:2]] == ["part 1", "part 2 × 0.5"]


def test_a_command_takes_options_and_a_prompt_as_it_is_typed() -> None:
    view = tokens(""" --weighting compel --negative-prompt 'ugly++' ("a cat", "mother's \\(x\\)").and()""", {})
    assert view.weighting == "compel"
    assert ["".join(token.text for chunk in encoder.chunks for token in chunk) for encoder in view.encoder_tokens] == [
        "acat",
        "mother's(x)",
        "ugly",
    ]


def test_a_command_takes_the_name_of_a_result(session: Session) -> None:
    result = session.run(Recipe(prompt="a jungle++", negative_prompt="snow", num_inference_steps=1, seed=1))
    view = tokens("wizard", {"wizard": result})
    assert seen(view.encoder_tokens[1]) == [("snow", 1.0)]
    assert view.hints == ("`jungle++` looks like Compel weighting; add `--weighting compel`.",)
    assert seen(tokens("--weighting=compel wizard", {"wizard": result}).encoder_tokens[0])[-1] == ("jungle", 1.21)
    assert seen(tokens("wizard", {}).encoder_tokens[0]) == [("wizard", 1.0)]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("", "must be followed by a prompt or the name of a result"),
        ("--weigting compel a cat", "'--weigting' is not an option of %diffuse tokens. Did you mean '--weighting'"),
        ("--weighting compell a cat", "Did you mean 'compel'"),
        ("--weighting compel a (cat", "must close every bracket, got character 3"),
        ("--weighting compel --model kandinsky22 a cat", "`weighting` is not taken by kandinsky22"),
    ],
)
def test_a_mistake_in_the_command_is_one_line(line: str, error: str) -> None:
    with pytest.raises(ParameterError, match=re.escape(error).replace("\\ ", " ")):
        tokens(line, {})


def test_a_checkpoint_without_a_tokenizer_is_one_line(tmp_path: Path, session: Session) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    with pytest.raises(CheckpointError, match="has no tokenizer of its own"):
        session.tokens(Recipe(prompt="a cat", checkpoint=str(tmp_path)))


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_shows_any_text_as_text() -> None:
    evil = '<script>alert("x")</script>&amp;\0<img onerror=x>'
    token = Token(evil, 1.5)
    view = TokenView("none", (EncoderTokens(evil, evil, evil, 75, ((token,), (token,)), (token,)),), (evil,))
    parser = _Tags()
    parser.feed(view.to_html())
    assert parser.tags <= {"div", "span", "sub", "s"}
    assert parser.text.count('<script>alert("x")</script>&amp;') == 7
    assert set(view._repr_mimebundle_()) == {"text/plain", "text/html"}
