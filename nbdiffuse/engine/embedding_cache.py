"""Embedding cache: text embeddings and encoded initial pictures, kept from one run to the next.

Both are kept by content, on the CPU, within a bound in bytes, and are put back into
diffusers' own call, which then draws the same random numbers in the same order: the
pixels do not change, only the encoders' time is saved.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import VQModel
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.autoencoders.vq_model import VQEncoderOutput
from diffusers.models.modeling_outputs import AutoencoderKLOutput

LIMIT = 64 * 2**20
"""Bytes that kept encodings may take by default: at SD 1.5's full size about 300 prompts or 500 pictures."""

Key = tuple[Any, ...]
Kept = tuple[torch.Tensor | None, ...]


class EmbeddingCache:
    """Keep encodings between runs; used by one thread only.

    Parameters
    ----------
    limit
        Bytes that may be kept, at least 0; the least recently used go first.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.size = 0
        self._kept: OrderedDict[Key, Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.size = 0

    @contextmanager
    def reuse(self, pipeline: Any, scope: str, words: str = "") -> Iterator[None]:
        """Let one call of a pipeline take its encodings from here, and leave new ones here.

        Parameters
        ----------
        pipeline
            Any diffusers pipeline; parts that it does not have are left alone.
        scope
            What the encodings depend on besides their input: checkpoint, dtype, device.
        words
            What those of prompts depend on further: the words that textual inversions add.
        """
        vae = getattr(pipeline, "vae", None) or getattr(pipeline, "movq", None)
        wrapped: list[tuple[Any, str, Any]] = []

        def wrap(owner: Any, name: str, made: Callable[..., Any]) -> None:
            # A guard may stand there already.
            wrapped.append((owner, name, vars(owner).get(name)))
            setattr(owner, name, made)

        try:
            for owner, name in _text_calls(pipeline):
                make = self._text if _takes_one_prompt(owner) else self._texts
                wrap(owner, name, make(getattr(owner, name), f"{scope} {words}"))
            if vae is not None and hasattr(vae, "encode"):
                wrap(vae, "encode", self._picture(vae, scope))
            yield
        finally:
            for owner, name, found in wrapped:
                delattr(owner, name)
                if found is not None:
                    setattr(owner, name, found)

    def _text(self, original: Callable[..., Any], scope: str) -> Callable[..., Any]:
        """Wrap `encode_prompt` so that a prompt and a negative prompt are kept each for itself.

        Source: diffusers `StableDiffusionPipeline.encode_prompt`, which encodes the two
        in two calls, so that one does not change the other's bytes.
        """
        signature = inspect.signature(original)

        @functools.wraps(original)
        def encode_prompt(*args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            asked = bound.arguments
            prompt, negative = asked["prompt"], asked["negative_prompt"]
            texts = isinstance(prompt, str) and (negative is None or isinstance(negative, str))
            given = any(asked.get(name) is not None for name in ("prompt_embeds", "negative_prompt_embeds", "lora_scale"))
            if not texts or given:
                return original(*args, **kwargs)
            device, rest = asked["device"], (asked["num_images_per_prompt"], asked.get("clip_skip"))
            positive = self.get(
                (scope, "prompt", prompt, *rest),
                lambda: original(**{**asked, "do_classifier_free_guidance": False, "negative_prompt": None})[0],
                device,
            )
            if not asked["do_classifier_free_guidance"]:
                return positive, None
            # The wrapped call reads the length from the prompt's embeddings and does not encode them again.
            key = (scope, "negative_prompt", negative or "", positive.shape[1], *rest)
            return positive, self.get(key, lambda: original(**{**asked, "prompt_embeds": positive})[1], device)

        return encode_prompt

    def _texts(self, original: Callable[..., Any], scope: str) -> Callable[..., Any]:
        """Wrap a call that encodes all prompts at once, as SDXL's and Kandinsky's do: what it returns is kept as a whole."""
        signature = inspect.signature(original)

        @functools.wraps(original)
        def encode(*args: Any, **kwargs: Any) -> tuple[torch.Tensor | None, ...]:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            asked = {name: value for name, value in bound.arguments.items() if value is not None}
            device = asked.pop("device", None)
            if device is None or not all(_is_plain(value) for value in asked.values()):
                passed: tuple[torch.Tensor | None, ...] = original(*args, **kwargs)
                return passed
            key = (scope, "prompts", repr(sorted(asked.items())))
            if key in self._kept:
                return self.get_all(key, tuple, device)
            made: tuple[torch.Tensor | None, ...] = original(*args, **kwargs)
            # Z-Image gives lists, one tensor for each prompt; they pass through.
            if isinstance(made, tuple) and all(one is None or isinstance(one, torch.Tensor) for one in made):
                self._keep(key, made)
            return made

        return encode

    def _picture(self, vae: Any, scope: str) -> Callable[..., Any]:
        """Wrap `vae.encode`: the posterior is kept, each run draws its own sample from it.

        Source: diffusers `retrieve_latents`, which draws the sample with the run's generator.
        """
        original = vae.encode
        quantised = isinstance(vae, VQModel)
        output_class: Any = VQEncoderOutput if quantised else AutoencoderKLOutput

        @functools.wraps(original)
        def encode(x: torch.Tensor, return_dict: bool = True) -> Any:
            state = (str(vae.dtype), getattr(vae, "use_tiling", None), getattr(vae, "use_slicing", None))
            key = (scope, "picture", *state, str(x.dtype), tuple(x.shape), _digest(x))
            if key in self._kept:
                kept = self.get(key, lambda: x, x.device)
                # A quantised autoencoder draws nothing and gives its latents as they are.
                found = kept if quantised else DiagonalGaussianDistribution(kept)
                name = "latents" if quantised else "latent_dist"
                return output_class(**{name: found}) if return_dict else (found,)
            output = original(x, return_dict=return_dict)
            seen = next(iter(output.values())) if return_dict else output[0]
            if quantised:
                self._keep(key, (seen,))
            elif isinstance(seen, DiagonalGaussianDistribution) and not seen.deterministic:
                self._keep(key, (seen.parameters,))
            return output

        return encode

    def get(self, key: Key, make: Callable[[], torch.Tensor], device: Any) -> torch.Tensor:
        """Return a copy of what is kept under a key, on a device; what is not there is made and kept."""
        found = self.get_all(key, lambda: (make(),), device)[0]
        if found is None:
            raise KeyError(key)
        return found

    def get_all(self, key: Key, make: Callable[[], Kept], device: Any) -> Kept:
        """Return copies of all that is kept under a key, on a device; what is not there is made and kept."""
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            # A copy, so that nothing a pipeline does to its tensors reaches what is kept.
            return tuple(None if one is None else one.to(device, copy=True) for one in kept)
        made = make()
        self._keep(key, made)
        return made

    def _keep(self, key: Key, made: Kept) -> None:
        kept = tuple(None if one is None else one.detach().to("cpu", copy=True) for one in made)
        # Numbers that are none must fail again, from their source, not from here.
        if _bytes_of(kept) > self.limit or not all(one is None or torch.isfinite(one).all() for one in kept):
            return
        self._kept[key] = kept
        self.size += _bytes_of(kept)
        while self.size > self.limit:
            _, oldest = self._kept.popitem(last=False)
            self.size -= _bytes_of(oldest)


def _bytes_of(kept: Kept) -> int:
    return sum(one.untyped_storage().nbytes() for one in kept if one is not None)


def _text_calls(pipeline: Any) -> Iterator[tuple[Any, str]]:
    """Yield the methods that encode prompts, each with its owner."""
    for owner, name in ((pipeline, "encode_prompt"), (getattr(pipeline, "prior_pipe", None), "_encode_prompt")):
        # An adapter's weights are not part of the scope, so text seen through one is not kept.
        encoders = (getattr(owner, f"text_encoder{suffix}", None) for suffix in ("", "_2", "_3"))
        if hasattr(owner, name) and not any(getattr(one, "_hf_peft_config_loaded", False) for one in encoders):
            yield owner, name


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, bool, int, float)) or (isinstance(value, list) and all(isinstance(one, str) for one in value))


def _takes_one_prompt(pipeline: Any) -> bool:
    """Tell whether `encode_prompt` is the one of the Stable Diffusion family: one text encoder, two results."""
    names = set(inspect.signature(getattr(pipeline, "encode_prompt", lambda: None)).parameters)
    wanted = {"prompt", "device", "num_images_per_prompt", "do_classifier_free_guidance", "negative_prompt", "prompt_embeds"}
    # Those that give a mask, or the embeddings of a second encoder, give more than two.
    return wanted <= names and not any("mask" in name or name in ("prompt_2", "pooled_prompt_embeds") for name in names)


def _digest(tensor: torch.Tensor) -> str:
    data = tensor.detach().to("cpu").contiguous().view(torch.uint8).numpy()
    return hashlib.sha256(data.data).hexdigest()
