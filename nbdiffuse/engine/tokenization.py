"""What a text encoder's tokenizer makes of a prompt: ids, weights and chunks, without the encoder's weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import transformers
from diffusers.loaders import TextualInversionLoaderMixin

from ..checkpoints.embedding_vectors import Embedding
from ..errors import CheckpointError, ParameterError
from ..pipelines.new_words import add_words, refuse_misfits, vectors_for
from ..pipelines.pipelines import Pipelines
from ..prompts import dialects
from ..prompts.tokens import EncoderTokens, Token, TokenView
from ..prompts.weights import Blend, Fragments, Weighted
from ..recipes.presets import preset_of
from ..recipes.recipe import PROMPTS, Recipe
from ..recipes.resolve import with_weights
from .conditioning import texts_of

TOKENIZERS = ("tokenizer", "tokenizer_2", "prior_tokenizer")
"""Names that diffusers' families give their tokenizers, in the order of their text encoders."""

_CONVERTER = TextualInversionLoaderMixin()
"""Writes each token of a textual inversion's vectors where its word stands in a prompt."""
GOES_ON = "‥"
"""Shown for a token that holds no more than the rest of a character."""


def provider(tokenizer: Any) -> Any:
    """Return Compel's view of a tokenizer, which cuts long prompts into chunks as `conditioning` encodes them."""
    from compel import EmbeddingsProvider, SplitLongTextMode

    return EmbeddingsProvider(tokenizer, None, truncate=False, device="cpu", split_long_text_mode=SplitLongTextMode.SENTENCES)


def view(pipelines: Pipelines, recipe: Recipe) -> TokenView:
    """Show the tokens that the prompts of a recipe become.

    Parameters
    ----------
    pipelines
        Finds the checkpoint's files; one from the hub is fetched if it is not there.
    recipe
        Complete or not; only its prompts, its `weighting` and its weights count.

    Raises
    ------
    ParameterError
        The family weighs no prompts, or a prompt breaks the syntax.
    CheckpointError
        The checkpoint has no tokenizer, or cannot be found.
    """
    preset = preset_of(recipe.model)
    dialect = recipe.weighting or dialects.NONE
    if dialect != dialects.NONE:
        if "weighting" not in preset.fields:
            raise ParameterError(f"`weighting` is not taken by {preset.name} ({preset.title}). Leave it out.")
        dialects.require_library()
    read = {name: dialects.read(dialect, recipe.get(name) or "", name) for name in PROMPTS}
    directory = pipelines.directory(str(with_weights(recipe, preset).checkpoint))
    tokenizers = _tokenizers(directory, preset.name)
    _add_words(tokenizers, [pipelines.embedding(one) for one in recipe.embeddings], directory, preset.name)
    positive, negative = texts_of(recipe, len(tokenizers))
    encoder_tokens: list[EncoderTokens] = []
    for names in (positive, negative):
        for number, (name, tokenizer) in enumerate(zip(names, tokenizers.values(), strict=True), start=1):
            encoder = f"text encoder {number}" if len(tokenizers) > 1 else ""
            cut = _plain if dialect == dialects.NONE else _chunked
            encoder_tokens += [cut(tokenizer, name, encoder, part, fragments) for part, fragments in _parts(read[name])]
    hints = (line for name in PROMPTS for line in dialects.hints(dialect, recipe.get(name) or ""))
    taken = "weighting" in preset.fields
    return TokenView(dialect, tuple(encoder_tokens), tuple(dict.fromkeys(hint for hint in hints if taken)))


def _tokenizers(directory: Path, name: str) -> Mapping[str, Any]:
    index = json.loads((directory / "model_index.json").read_text("utf-8"))
    held = {part: index[part][1] for part in TOKENIZERS if index.get(part, [None])[0] is not None}
    if not held:
        raise CheckpointError(f"The checkpoint of {name} has no tokenizer of its own, so there is nothing to show.")
    return {part: getattr(transformers, kind).from_pretrained(directory / part) for part, kind in held.items()}


def _add_words(tokenizers: Mapping[str, Any], embeddings: Sequence[Embedding], directory: Path, name: str) -> None:
    """Add the words of textual inversions to tokenizers whose text encoders have vectors for them."""
    encoders = {part: part.replace("tokenizer", "text_encoder") for part in tokenizers}
    widths = {
        encoder: int(json.loads((directory / encoder / "config.json").read_text("utf-8"))["hidden_size"])
        for encoder in (encoders.values() if embeddings else ())
    }
    refuse_misfits(embeddings, widths, name)
    for part, encoder in encoders.items():
        for one in embeddings:
            vectors = vectors_for(one, encoder, widths)
            if vectors is not None:
                add_words(tokenizers[part], one, vectors.shape[0])


def _parts(weighted: Weighted) -> list[tuple[str, Fragments]]:
    """Return what each text encoder sees of a prompt, each with what becomes of it."""
    found: list[tuple[str, Fragments]] = []
    several = len(weighted.parts) > 1
    for number, (part, weight) in enumerate(zip(weighted.parts, weighted.weights, strict=True), start=1):
        if isinstance(part, Blend):
            found += [(f"blend {share:g}", each) for each, share in zip(part.parts, part.weights, strict=True)]
        else:
            scale = f" × {weight:g}" if weight != 1 else ""
            found.append((f"part {number}{scale}" if several else "", part))
    return found


def _plain(tokenizer: Any, name: str, encoder: str, part: str, fragments: Fragments) -> EncoderTokens:
    """Take a prompt as diffusers does: what does not fit is cut."""
    text = _CONVERTER.maybe_convert_prompt("".join(fragment.text for fragment in fragments), tokenizer)
    ids = tokenizer(text, add_special_tokens=False).input_ids
    room = tokenizer.model_max_length - 2
    tokens = _tokens(tokenizer, ids, [1.0] * len(ids))
    return EncoderTokens(name, encoder, part, room, (tokens[:room],), tokens[room:])


def _chunked(tokenizer: Any, name: str, encoder: str, part: str, fragments: Fragments) -> EncoderTokens:
    texts = [_CONVERTER.maybe_convert_prompt(fragment.text, tokenizer) for fragment in fragments]
    weights = [fragment.weight for fragment in fragments]
    flat, weighed, _ = provider(tokenizer).get_token_ids_and_expand_weights(texts, weights, device="cpu")
    length = tokenizer.model_max_length
    chunks = []
    for start in range(0, len(flat), length):
        ids = flat[start : start + length].tolist()[1:]
        # The first end token closes the chunk; what follows it fills the chunk up.
        count = ids.index(tokenizer.eos_token_id)
        chunks.append(_tokens(tokenizer, ids[:count], weighed[start + 1 : start + 1 + count].tolist()))
    return EncoderTokens(name, encoder, part, length - 2, tuple(chunks), ())


def _tokens(tokenizer: Any, ids: list[int], weights: list[float]) -> tuple[Token, ...]:
    pieces = tokenizer.convert_ids_to_tokens(ids)
    ends = [piece.endswith("</w>") for piece in pieces]
    shown = zip(_texts(tokenizer, ids), weights, ends, strict=True)
    return tuple(Token(text, round(weight, 4), end) for text, weight, end in shown)


def _texts(tokenizer: Any, ids: list[int]) -> list[str]:
    """Return what a person reads for each token; of a character in several tokens all but the first are `GOES_ON`."""
    texts: list[str] = []
    start = 0
    for end in range(1, len(ids) + 1):
        text = str(tokenizer.decode(ids[start:end])).strip()
        # A character has at most four bytes, so what is not whole by then never will be.
        if "\N{REPLACEMENT CHARACTER}" not in text or end - start == 4 or end == len(ids):
            texts += [text, *[GOES_ON] * (end - start - 1)]
            start = end
    return texts
