"""Pipelines that stay loaded: each checkpoint is loaded once, each task is built from its components."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..checkpoints import loading, locate
from ..checkpoints.embedding_vectors import Embedding, read_embedding
from ..checkpoints.ip_adapter_files import IPAdapterFile, locate_ip_adapter
from ..checkpoints.latent_space import latent_space_id, vae_of
from ..checkpoints.locate import Checkpoint
from ..checkpoints.low_rank import LoraFile, locate_lora
from ..checkpoints.own_vae import load_vae, locate_vae
from ..devices.memory import component_bytes, default_device, numbered
from ..devices.optimizations import Optimizations, apply
from ..errors import CheckpointError
from ..families.pipeline_classes import controlnet_class
from ..files.snapshots import Snapshot
from ..library_logging import silence_libraries
from ..recipes.ip_adapter import IPAdapter, to_load
from ..recipes.lora import Lora
from ..recipes.textual_inversion import TextualInversion
from .assembly import assemble, checked_controlnet, refuse_other_base
from .ip_adapters import with_ip_adapters
from .loaded_model import LoadedModel, Row
from .lookups import Lookups
from .model_cache import ModelCache
from .new_words import with_words
from .previews import measured
from .unfused_loras import with_loras

import diffusers  # isort: skip  (after `checkpoints`, which forbids it to run a checkpoint's code)
import torch  # isort: skip

NOTHING: Mapping[str, str] = MappingProxyType({})


class Pipelines:
    """Keep diffusers pipelines in memory between runs; used by one thread only.

    Parameters
    ----------
    device
        Where the models run; where not given a CUDA GPU, else Apple's, else the CPU.
    """

    def __init__(self, device: str | None = None) -> None:
        silence_libraries()
        self.device = numbered(torch.device(device or default_device()))
        self.optimizations = Optimizations()
        self._models = ModelCache(self.device, self.dtype)
        self._lookups = Lookups(lambda: self.dtype != torch.float32, self._models.drop_changed)
        # By space: fine-tunes of one model share it.
        self._latent_rgb: dict[str, torch.Tensor | None] = {}

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and arithmetic."""
        return self.optimizations.dtype_on(self.device)

    def acquire(
        self,
        word: str,
        pipeline: str,
        scheduler: str,
        extras: Mapping[str, str] = NOTHING,
        settings: Mapping[str, Any] = NOTHING,
        embeddings: Sequence[TextualInversion] = (),
        ip_adapters: Sequence[IPAdapter] = (),
        options: Mapping[str, Any] = NOTHING,
        loras: Sequence[Lora] = (),
        vae: str | None = None,
    ) -> Any:
        """Return a pipeline around resident weights, with a fresh scheduler; pipelines of one checkpoint share its weights.

        Parameters
        ----------
        word
            The checkpoint: an embedded name, a hub id, or a directory.
        pipeline
            diffusers' class name.
        scheduler
            diffusers' class name without "Scheduler".
        extras
            Checkpoints of further components, such as {"controlnet": "a directory"}.
        settings
            Of the scheduler, in place of what the checkpoint says, such as {"use_karras_sigmas": True}.
        embeddings
            Textual inversions, whose words this pipeline's prompts may use.
        ip_adapters
            Those that its UNet has, each with its scale.
        options
            What the pipeline's constructor takes beside components, such as {"pag_applied_layers": ["mid"]}.
        loras
            Those that stay beside the weights.
        vae
            The VAE in the place of the checkpoint's own.

        Raises
        ------
        CheckpointError
            A checkpoint is missing, refused, or larger than the budget; nothing half loaded is kept.
        """
        found = [self._checkpoint(one) for one in (word, *extras.values())]
        for name, one in zip(extras, found[1:], strict=True):
            refuse_other_base(name, one, found[0], controlnet_class(pipeline))
        eyes = [self._checkpoint(one) for one in self.image_encoders(word, ip_adapters)]
        own = [self.own_vae(word, vae)] if vae else []
        needed = frozenset(checkpoint.identity for checkpoint in (*found, *eyes, *own))
        base, *added = (self._loaded_model(checkpoint, needed) for checkpoint in found)
        for loaded in (base, *added):
            loaded.users.add(pipeline)
            apply(loaded.components, self.optimizations)
        kind = controlnet_class(pipeline)
        more = {name: checked_controlnet(name, one, base, kind) for name, one in zip(extras, added, strict=True)}
        if len(more) > 1:
            more = {"controlnet": list(more.values())}
        for one in own:
            more["vae"] = self._loaded_model(one, needed).components["."]
        for encoder in eyes:
            used = to_load(ip_adapters)
            files, scales = [self.ip_adapter(word, one) for one in used], [one.scales for one in used]
            eye, masked = self._loaded_model(encoder, needed), any(one.mask is not None for one in ip_adapters)
            more |= with_ip_adapters(base, files, scales, eye, self.device, self.dtype, alone=masked)
        more |= with_words(base.components, [self.embedding(one) for one in embeddings], base.checkpoint.name)
        made = getattr(diffusers, pipeline)
        if loras:
            found_loras, scales = [self.lora(word, one) for one in loras], [(one.weight, one.in_text_encoders) for one in loras]
            more |= with_loras(base, more, found_loras, scales, made, self.device, self.dtype)
        return assemble(made, base, {**more, **options}, scheduler, settings)

    def embedding(self, asked: TextualInversion) -> Embedding:
        """Return a textual inversion's word and vectors; inside `held` those of the same file every time."""
        return self._lookups.kept(f"embedding {asked}", lambda: read_embedding(asked.file, asked.token))

    def lora(self, word: str, asked: Lora) -> LoraFile:
        """Return the file of a LoRA that stays beside a checkpoint's weights; inside `held` the same one every time."""
        base = self._checkpoint(word)
        return self._lookups.kept(f"LoRA {asked.file} {word}", lambda: locate_lora(asked.file, base.directory, base.name))

    def ip_adapter(self, word: str, asked: IPAdapter) -> IPAdapterFile:
        """Return an IP-Adapter's file for a checkpoint; inside `held` the same one every time."""
        name, encoder, base = str(asked.checkpoint), asked.image_encoder, self._checkpoint(word)
        key = f"IP-Adapter {name} {encoder} {word}"
        return self._lookups.kept(key, lambda: locate_ip_adapter(name, encoder, base.directory, base.name))

    def image_encoders(self, word: str, asked: Sequence[IPAdapter]) -> tuple[str, ...]:
        """Return the word for the CLIP that all IP-Adapters of a run look with; nothing where there are none.

        Raises
        ------
        CheckpointError
            They look with several.
        """
        files = [self.ip_adapter(word, one) for one in to_load(asked)]
        found = tuple(dict.fromkeys(one.encoder for one in files))
        if len(found) > 1:
            line = f"The IP-Adapters {', '.join(one.path.name for one in files)} look with different CLIPs"
            raise CheckpointError(f"{line}, and a pipeline has one. Run them one after the other in a %%chain.")
        return found

    def held(self, snapshot: Snapshot | None = None) -> AbstractContextManager[None]:
        """Let every word stand for the same files inside a block, see `Lookups.held`."""
        return self._lookups.held(snapshot)

    def relieve(self, word: str, extras: Mapping[str, str] = NOTHING) -> str:
        """Make room for a run of these checkpoints that ran out of memory, and say what was done; see `ModelCache.relieve`."""
        return self._models.relieve(frozenset(self.identity(one) for one in (word, *extras.values())))

    def rest(self) -> None:
        """Send back to RAM what offloading left on the device."""
        for loaded in self._models:
            loaded.rest()

    def set_optimization(self, name: str, value: str) -> None:
        """Run models in another way from now on, see `Optimizations`."""
        self.optimizations = self.optimizations.replace(name, value)
        self._models.set_offload(self.optimizations.offload)
        if self._models.dtype != self.dtype:
            # Weights are read again: what is rounded once does not come back, and the files may be others.
            self.unload()
            self._models.dtype = self.dtype

    def model(self, word: str) -> Any:
        """Return a resident checkpoint that is one model, such as a ControlNet or a depth estimator."""
        checkpoint = self._checkpoint(word)
        return self._loaded_model(checkpoint, frozenset({checkpoint.identity})).components["."]

    def own_vae(self, word: str, vae: str) -> Checkpoint:
        """Return the VAE that stands in the place of a checkpoint's own; inside `held` the same files every time."""
        base, half = self._checkpoint(word), self.dtype != torch.float32
        return self._lookups.kept(f"VAE {vae} {word}", lambda: locate_vae(vae, base, half))

    def space(self, word: str, vae: str | None = None) -> str:
        """Return what identifies a checkpoint's latents, or a VAE's own, see `latent_space_id`; it is loaded for that."""
        checkpoint = self.own_vae(word, vae) if vae else self._checkpoint(word)
        return self._loaded_model(checkpoint, frozenset({checkpoint.identity})).space

    def directory(self, word: str) -> Path:
        """Return where a checkpoint's files are."""
        return self._checkpoint(word).directory

    def components(self, name: str) -> Mapping[str, Any]:
        """Return the components of a checkpoint in memory, by diffusers' names."""
        return next(one.components for one in self._models if one.checkpoint.name == name)

    def identity(self, word: str) -> str:
        """Return what identifies a checkpoint's files: a hash of them, or hub id and commit."""
        return self._checkpoint(word).identity

    def scope(self, word: str) -> str:
        """Return what encodings depend on besides their input: checkpoint, dtype, device."""
        return f"{self.identity(word)} {self.dtype} {self.device}"

    def notices(self, word: str) -> tuple[str, ...]:
        """Return what a person should know about a checkpoint, one line each."""
        return self._checkpoint(word).notices

    def latent_rgb(self, word: str) -> torch.Tensor | None:
        """Return the matrix that turns latents into a rough preview, see `previews.latent_rgb`; the checkpoint is loaded."""
        checkpoint = self._checkpoint(word)
        file = checkpoint.directory / "latent_rgb.json"
        if file.exists():
            return torch.tensor(json.loads(file.read_text()), dtype=torch.float32)
        loaded = self._loaded_model(checkpoint, frozenset({checkpoint.identity}))
        if loaded.space not in self._latent_rgb:
            self._latent_rgb[loaded.space] = measured(vae_of(loaded.components))
        return self._latent_rgb[loaded.space]

    @property
    def budget(self) -> int:
        """Bytes that weights may take on the device."""
        return self._models.budget

    def set_budget(self, size: int | None) -> None:
        """Bound the bytes that weights take on the device, at once; None goes back to what the device has free."""
        self._models.set_budget(size)

    def unload(self, name: str | None = None) -> int:
        """Drop a checkpoint from memory, or all of them; return the bytes of their weights.

        Raises
        ------
        ParameterError
            No checkpoint of this name is in memory.
        """
        meant = self._lookups.known(name) if name else None
        # A checkpoint may be asked for by several words and is held under the first.
        held_as = (one.checkpoint.name for one in self._models if meant and one.checkpoint.identity == meant.identity)
        size = self._models.unload(next(held_as, name))
        self._lookups.forget({one.checkpoint.identity for one in self._models})
        return size

    def table(self) -> list[Row]:
        """Return what is in memory, most recently used first."""
        return self._models.table()

    def _checkpoint(self, word: str) -> Checkpoint:
        return self._lookups.get(word)

    def _loaded_model(self, checkpoint: Checkpoint, needed: frozenset[str]) -> LoadedModel:
        dtype = self.dtype

        def measure() -> int:
            return locate.weights_bytes(checkpoint, dtype.itemsize, half=dtype != torch.float32)

        def load() -> LoadedModel:
            loaded = _load(checkpoint, dtype)
            if not checkpoint.part:
                self._lookups.check_unchanged(checkpoint)
            return loaded

        return self._models.get(checkpoint, measure, load, needed)


def _load(checkpoint: Checkpoint, dtype: torch.dtype) -> LoadedModel:
    loaded = load_vae(checkpoint, dtype) if checkpoint.part else loading.load(checkpoint, dtype)
    if isinstance(loaded, torch.nn.Module):
        components: dict[str, Any] = {".": loaded}
        space = latent_space_id({"vae": loaded}) if "Autoencoder" in type(loaded).__name__ else ""
        return LoadedModel(checkpoint, components, {}, component_bytes(components), space)
    components = dict(loaded.components)
    options = {name: value for name, value in loaded.config.items() if name not in components and not name.startswith("_")}
    # Told while the weights are in RAM: on the device they may be anywhere, or nowhere whole.
    return LoadedModel(checkpoint, components, options, component_bytes(components), latent_space_id(components))
