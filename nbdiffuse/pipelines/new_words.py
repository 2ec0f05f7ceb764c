"""New words for a pipeline's text encoders, from textual inversions; the resident tokenizers and encoders stay as they are."""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from ..checkpoints.embedding_vectors import Embedding
from ..errors import CheckpointError

_CLIP = (CLIPTextModel, CLIPTextModelWithProjection)
_ENCODERS = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}


def with_words(components: Mapping[str, Any], embeddings: Sequence[Embedding], checkpoint: str) -> dict[str, Any]:
    """Return tokenizers that know further words, and text encoders that have their vectors.

    Parameters
    ----------
    components
        Of a checkpoint in memory, by diffusers' names.
    embeddings
        Each with a word that no other one has.
    checkpoint
        What errors call it.

    Returns
    -------
    dict of str to Any
        What a pipeline takes in the place of components of the same names. The encoders
        share all weights with the resident ones; tokens have the numbers that
        diffusers' `load_textual_inversion` would give them.

    Raises
    ------
    CheckpointError
        Vectors fit no text encoder, or a word is one that the tokenizer knows already.
    """
    encoders = {name: components[name] for name in _ENCODERS.values() if isinstance(components.get(name), _CLIP)}
    widths = {name: int(model.get_input_embeddings().weight.shape[-1]) for name, model in encoders.items()}
    refuse_misfits(embeddings, widths, checkpoint)
    replaced: dict[str, Any] = {}
    for name, model in encoders.items():
        tokenizer_name = name.replace("text_encoder", "tokenizer")
        chosen = [(one, vectors) for one in embeddings if (vectors := vectors_for(one, name, widths)) is not None]
        if not chosen:
            continue
        tokenizer, rows = copy.deepcopy(components[tokenizer_name]), list[torch.Tensor]()
        first = len(tokenizer)
        for one, vectors in chosen:
            add_words(tokenizer, one, vectors.shape[0])
            rows.append(vectors)
        replaced[tokenizer_name] = tokenizer
        replaced[name] = _reading(model, first, torch.cat(rows))
    return replaced


def add_words(tokenizer: Any, embedding: Embedding, count: int) -> None:
    """Add the words of a textual inversion to a tokenizer: its token, and "token_1" and so on for further vectors.

    Raises
    ------
    CheckpointError
        The tokenizer knows the word already.
    """
    words = [embedding.token, *(f"{embedding.token}_{number}" for number in range(1, count))]
    known = tokenizer.get_vocab()
    taken = next((word for word in words if word in known), None)
    if taken is not None:
        line = f"The textual inversion {embedding.name} cannot be called {embedding.token!r}: {taken!r} is a token already"
        raise CheckpointError(f"{line}. Name another word behind the file: {embedding.name}:<my-word>.")
    for word in words:
        tokenizer.add_tokens(word)


def vectors_for(one: Embedding, encoder: str, widths: Mapping[str, int]) -> torch.Tensor | None:
    """Return a textual inversion's vectors for a text encoder, or None.

    Parameters
    ----------
    one
        Its vectors may say which encoder they are for; else it is the first one that they fit.
    encoder
        diffusers' name of it.
    widths
        Of the vectors of every text encoder, by diffusers' names.
    """
    named = next((one.vectors[key] for key, name in _ENCODERS.items() if name == encoder and key in one.vectors), None)
    if named is not None:
        return named if named.shape[-1] == widths[encoder] else None
    free = one.vectors.get("")
    if free is None:
        return None
    return free if next((name for name, width in widths.items() if width == free.shape[-1]), None) == encoder else None


def refuse_misfits(embeddings: Sequence[Embedding], widths: Mapping[str, int], checkpoint: str) -> None:
    """Raise `CheckpointError` for the first textual inversion whose vectors fit no text encoder; see `vectors_for`."""
    for one in embeddings:
        if any(vectors_for(one, name, widths) is not None for name in widths):
            continue
        own = " and ".join(dict.fromkeys(str(vectors.shape[-1]) for vectors in one.vectors.values()))
        theirs = " and ".join(dict.fromkeys(map(str, widths.values())))
        has = f"those of {checkpoint} are {theirs} wide" if widths else f"{checkpoint} has no CLIP text encoder"
        line = f"The textual inversion {one.name} does not fit {checkpoint}: its vectors are {own} wide, and {has}"
        raise CheckpointError(f"{line}. Choose one that was trained on its kind.")


def _reading(model: Any, first: int, vectors: torch.Tensor) -> Any:
    """Return a view of a text encoder that reads tokens from `first` on as these vectors; it shares all weights."""
    view = copy.copy(model)
    # Hooks belong to the model that is called, not to the view that calls it.
    view._forward_hooks, view._forward_pre_hooks = OrderedDict(), OrderedDict()
    view.forward = functools.partial(_read, model, first, vectors)
    return view


def _read(model: Any, first: int, vectors: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    with _new_rows(model.get_input_embeddings(), first, vectors):
        return model(*args, **kwargs)


@contextmanager
def _new_rows(layer: torch.nn.Module, first: int, vectors: torch.Tensor) -> Iterator[None]:
    """Let an embedding layer have further rows inside this block; hooks stand outside of what offloading puts there."""
    asked: list[torch.Tensor] = []

    def before(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        asked.append(args[0])
        return (args[0].clamp(max=first - 1), *args[1:])

    def after(module: torch.nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
        ids = asked.pop().to(output.device)
        rows = vectors.to(output)[(ids - first).clamp(min=0)]
        return torch.where((ids >= first)[..., None], rows, output)

    handles = layer.register_forward_pre_hook(before), layer.register_forward_hook(after)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
