"""Weighted prompts as embeddings, made by Compel and handed to diffusers' own call in the place of the prompts."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ..prompts import dialects
from ..prompts.weights import Blend, Fragments, Weighted
from ..recipes.recipe import PROMPTS, Recipe

Key = tuple[Any, ...]
Kept = Callable[[Key, Callable[[], torch.Tensor]], torch.Tensor]
"""Returns what was kept under a key, or makes and keeps it."""


@torch.no_grad()
def arguments(pipeline: Any, recipe: Recipe, kept: Kept) -> dict[str, Any]:
    """Encode the prompts of a recipe with their weights.

    Compel moves each token's vector away from the empty prompt's by the weight, and
    for weights below 1 also towards the prompt without the words. AUTOMATIC1111 itself
    multiplies the vectors and then restores their mean over the chunk, so the same
    numbers pull less evenly there; only the syntax is the same here. Prompts past the
    text encoder's 75 tokens become several chunks. SDXL's pooled embedding has no
    weights: in Compel's dialect it is made of the text as typed, as Compel does, else
    of the words alone.

    Parameters
    ----------
    pipeline
        One that takes `prompt_embeds`.
    recipe
        Complete, with a `weighting` that is not "none".
    kept
        See `Kept`; the key names the text, the dialect and the encoder.

    Returns
    -------
    dict of str to Any
        Arguments of the pipeline's call: None for every prompt, and embeddings of shape
        (1, 77 * chunks, width), the two prompts' equally long; for SDXL also the pooled
        ones, (1, width). The negative ones are left out where diffusers puts zeros or
        nothing there.

    Notes
    -----
    Source: Compel `CompelForSD`, `CompelForSDXL`; diffusers `encode_prompt` of both pipelines.
    """
    accepted = inspect.signature(pipeline.__call__).parameters
    pooled = "pooled_prompt_embeds" in accepted
    encoders = _encoders(pipeline, penultimate=pooled)
    if any(getattr(encoder.text_encoder, "_hf_peft_config_loaded", False) for encoder in encoders):
        # An adapter's weights are not part of the key.
        kept = _made
    negative = _negative_is_read(pipeline, recipe)
    prompts = [*zip(("", "negative_"), texts_of(recipe, len(encoders)), strict=True)][: 2 if negative else 1]
    dialect = str(recipe.weighting)
    rows = {
        prefix: [encoder.encode(dialect, recipe.get(name) or "", kept) for encoder, name in zip(encoders, names, strict=True)]
        for prefix, names in prompts
    }
    length = max(one.shape[1] for row in rows.values() for one in row)
    made: dict[str, Any] = {name: None for name in PROMPTS if name in accepted}
    for prefix, names in prompts:
        padded = [encoder.padded(one, length, kept) for encoder, one in zip(encoders, rows[prefix], strict=True)]
        made[f"{prefix}prompt_embeds"] = torch.cat(padded, dim=-1)
        if pooled:
            text = recipe.get(names[-1]) or ""
            made[f"{prefix}pooled_prompt_embeds"] = encoders[-1].pooled(dialect, text, kept)
    return made


def notices(pipeline: Any, recipe: Recipe) -> tuple[str, ...]:
    """Say which prompts are longer than the pooled embedding sees; nothing else is cut."""
    if "pooled_prompt_embeds" not in inspect.signature(pipeline.__call__).parameters:
        return ()
    encoders = _encoders(pipeline, penultimate=True)
    lines = []
    for names in texts_of(recipe, len(encoders)):
        text = encoders[-1].pooled_text(str(recipe.weighting), recipe.get(names[-1]) or "")
        count = len(encoders[-1].tokenizer(text, add_special_tokens=False).input_ids)
        room = encoders[-1].tokenizer.model_max_length - 2
        if count > room:
            chunks = "it is encoded in chunks, of which the pooled embedding sees"
            lines.append(f"`{names[-1]}` has {count} tokens: {chunks} the first {room} tokens.")
    return tuple(lines)


def texts_of(recipe: Recipe, encoders: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the fields that each text encoder reads, for the prompt and for the negative prompt.

    A family with two text encoders gives the second one `prompt_2` where that is set;
    the refiner, which has only the second one, gives it `prompt`.

    Source: diffusers `StableDiffusionXLPipeline.encode_prompt`.
    """
    second = (
        "prompt_2" if recipe.get("prompt_2") else "prompt",
        "negative_prompt_2" if recipe.get("negative_prompt_2") else "negative_prompt",
    )
    if encoders < 2:
        return ("prompt",), ("negative_prompt",)
    return ("prompt", second[0]), ("negative_prompt", second[1])


def _negative_is_read(pipeline: Any, recipe: Recipe) -> bool:
    if (recipe.guidance_scale or 0) <= 1:
        return False
    return bool(recipe.negative_prompt) or not pipeline.config.get("force_zeros_for_empty_prompt", False)


def _encoders(pipeline: Any, penultimate: bool) -> list[_Encoder]:
    device = str(pipeline._execution_device)
    convert = getattr(pipeline, "maybe_convert_prompt", _as_it_is)
    held = [
        (name, getattr(pipeline, name.replace("text_encoder", "tokenizer"), None), getattr(pipeline, name, None))
        for name in ("text_encoder", "text_encoder_2")
    ]
    return [
        _Encoder(name, tokenizer, model, penultimate, device, convert) for name, tokenizer, model in held if model is not None
    ]


def _as_it_is(text: str, tokenizer: Any) -> str:
    return text


def _made(key: Key, make: Callable[[], torch.Tensor]) -> torch.Tensor:
    return make()


@dataclass(frozen=True)
class _Encoder:
    """One text encoder and its tokenizer, as Compel uses them."""

    name: str
    tokenizer: Any
    text_encoder: Any
    penultimate: bool
    device: str
    convert: Callable[[str, Any], str]
    """diffusers' own, which writes each token of a textual inversion's vectors where its word stands."""

    @property
    def _key(self) -> Key:
        return (self.name, self.penultimate)

    @property
    def _compel(self) -> Any:
        from compel import Compel, ReturnedEmbeddingsType

        layer = "PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED" if self.penultimate else "LAST_HIDDEN_STATES_NORMALIZED"
        return Compel(
            tokenizer=self.tokenizer,
            text_encoder=self.text_encoder,
            returned_embeddings_type=ReturnedEmbeddingsType[layer],
            truncate_long_prompts=False,
            device=self.device,
        )

    def encode(self, dialect: str, text: str, kept: Kept) -> torch.Tensor:
        """Return shape (1, 77 * chunks, width)."""

        def make() -> torch.Tensor:
            conjunction = _conjunction(dialects.read(dialect, text), self.tokenizer, self.convert)
            made: torch.Tensor = self._compel.build_conditioning_tensor_for_conjunction(conjunction)[0]
            return made

        return kept(("weighted", *self._key, dialect, text), make)

    def padded(self, made: torch.Tensor, length: int, kept: Kept) -> torch.Tensor:
        """Put empty chunks behind embeddings until they have `length` tokens."""
        if made.shape[1] == length:
            return made
        empty = kept(("empty", *self._key), lambda: self._compel.conditioning_provider.empty_z)
        missing = (length - made.shape[1]) // empty.shape[1]
        return torch.cat([made, *[empty.to(made)] * missing], dim=1)

    def pooled(self, dialect: str, text: str, kept: Kept) -> torch.Tensor:
        """Return shape (1, width)."""
        words = self.convert(self.pooled_text(dialect, text), self.tokenizer)
        provider = self._compel.conditioning_provider
        return kept(("pooled", self.name, words), lambda: provider.get_pooled_embeddings([words], device=self.device))

    @staticmethod
    def pooled_text(dialect: str, text: str) -> str:
        return text if dialect == "compel" else dialects.read(dialect, text).text


def _conjunction(weighted: Weighted, tokenizer: Any, convert: Callable[[str, Any], str]) -> Any:
    """Turn a prompt into the values that Compel encodes."""
    from compel.prompt_parser import Blend as CompelBlend
    from compel.prompt_parser import Conjunction, FlattenedPrompt

    def flat(fragments: Fragments) -> Any:
        return FlattenedPrompt(
            [_fragment(convert(fragment.text, tokenizer), fragment.weight, tokenizer) for fragment in fragments]
        )

    parts = [
        CompelBlend([flat(each) for each in part.parts], list(part.weights), part.normalize)
        if isinstance(part, Blend)
        else flat(part)
        for part in weighted.parts
    ]
    return Conjunction(parts, list(weighted.weights))


def _fragment(text: str, weight: float, tokenizer: Any) -> Any:
    from compel.prompt_parser import Fragment

    # Compel fails on words below 1 of which no token is left, such as blanks between two brackets.
    silent = weight < 1 and not tokenizer(text, add_special_tokens=False).input_ids
    fragment = Fragment("", 1.0 if silent else weight)
    # Set afterwards: the constructor takes brackets for escaped ones.
    fragment.text = text
    return fragment
