"""What a run can keep from the one before: text embeddings, and what the VAE saw in an initial picture.

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
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput

LIMIT = 64 * 2**20
"""Bytes that kept encodings may take by default: at SD 1.5's full size about 300 prompts or 500 pictures."""

Key = tuple[Any, ...]


class Encodings:
    """Keep encodings between runs; used by one thread only.

    Parameters
    ----------
    limit
        Bytes that may be kept, at least 0; the least recently used go first.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.size = 0
        self._kept: OrderedDict[Key, torch.Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.size = 0

    @contextmanager
    def reuse(self, pipeline: Any, scope: str) -> Iterator[None]:
        """Let one call of a pipeline take its encodings from here, and leave new ones here.

        Parameters
        ----------
        pipeline
            Any diffusers pipeline; parts that it does not have are left alone.
        scope
            What the encodings depend on besides their input: checkpoint, dtype, device.
        """
        vae = getattr(pipeline, "vae", None)
        wrapped: list[tuple[Any, str]] = []
        try:
            # An adapter's weights are not part of the scope, so text seen through one is not kept.
            if _takes_one_prompt(pipeline) and not getattr(pipeline.text_encoder, "_hf_peft_config_loaded", False):
                pipeline.encode_prompt = self._text(pipeline, scope)
                wrapped.append((pipeline, "encode_prompt"))
            if vae is not None and hasattr(vae, "encode"):
                vae.encode = self._picture(vae, scope)
                wrapped.append((vae, "encode"))
            yield
        finally:
            for owner, name in wrapped:
                delattr(owner, name)

    def _text(self, pipeline: Any, scope: str) -> Callable[..., Any]:
        """Wrap `encode_prompt` so that a prompt and a negative prompt are kept each for itself.

        Source: diffusers `StableDiffusionPipeline.encode_prompt`, which encodes the two
        in two calls, so that one does not change the other's bytes.
        """
        original = pipeline.encode_prompt
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
            positive = self._get(
                (scope, "prompt", prompt, *rest),
                lambda: original(**{**asked, "do_classifier_free_guidance": False, "negative_prompt": None})[0],
                device,
            )
            if not asked["do_classifier_free_guidance"]:
                return positive, None
            # The wrapped call reads the length from the prompt's embeddings and does not encode them again.
            key = (scope, "negative_prompt", negative or "", positive.shape[1], *rest)
            return positive, self._get(key, lambda: original(**{**asked, "prompt_embeds": positive})[1], device)

        return encode_prompt

    def _picture(self, vae: Any, scope: str) -> Callable[..., Any]:
        """Wrap `vae.encode`: the posterior is kept, each run draws its own sample from it.

        Source: diffusers `retrieve_latents`, which draws the sample with the run's generator.
        """
        original = vae.encode

        @functools.wraps(original)
        def encode(x: torch.Tensor, return_dict: bool = True) -> Any:
            state = (str(vae.dtype), getattr(vae, "use_tiling", None), getattr(vae, "use_slicing", None))
            key = (scope, "picture", *state, str(x.dtype), tuple(x.shape), _digest(x))
            kept = self._kept.get(key)
            if kept is None:
                output = original(x, return_dict=return_dict)
                posterior = output.get("latent_dist") if return_dict else output[0]
                # A quantised autoencoder draws nothing and gives its latents as they are.
                if isinstance(posterior, DiagonalGaussianDistribution) and not posterior.deterministic:
                    self._keep(key, posterior.parameters)
                return output
            self._kept.move_to_end(key)
            posterior = DiagonalGaussianDistribution(kept.to(x.device, copy=True))
            return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

        return encode

    def _get(self, key: Key, make: Callable[[], torch.Tensor], device: Any) -> torch.Tensor:
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            # A copy, so that nothing a pipeline does to its tensors reaches what is kept.
            return kept.to(device, copy=True)
        made = make()
        self._keep(key, made)
        return made

    def _keep(self, key: Key, made: torch.Tensor) -> None:
        kept = made.detach().to("cpu", copy=True)
        size = kept.untyped_storage().nbytes()
        # Numbers that are none must fail again, from their source, not from here.
        if size > self.limit or not torch.isfinite(kept).all():
            return
        self._kept[key] = kept
        self.size += size
        while self.size > self.limit:
            _, oldest = self._kept.popitem(last=False)
            self.size -= oldest.untyped_storage().nbytes()


def _takes_one_prompt(pipeline: Any) -> bool:
    """Tell whether `encode_prompt` is the one of the Stable Diffusion family: one text encoder, two results."""
    names = set(inspect.signature(getattr(pipeline, "encode_prompt", lambda: None)).parameters)
    wanted = {"prompt", "device", "num_images_per_prompt", "do_classifier_free_guidance", "negative_prompt", "prompt_embeds"}
    return wanted <= names and not names & {"prompt_2", "pooled_prompt_embeds"}


def _digest(tensor: torch.Tensor) -> str:
    data = tensor.detach().to("cpu").contiguous().view(torch.uint8).numpy()
    return hashlib.sha256(data.data).hexdigest()
