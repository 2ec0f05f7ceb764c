"""Pipelines that stay resident: each checkpoint is loaded once, each task is built from its components."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from . import checkpoints, loading
from .checkpoints import Checkpoint
from .errors import ParameterError, did_you_mean
from .layouts import weights_bytes
from .memory import component_bytes
from .presets import Preset
from .residents import Resident, Residents, Row

import diffusers  # isort: skip  (after `checkpoints`, which forbids it to run a checkpoint's code)
import torch  # isort: skip

SOURCES = ("tiny", "hub")
"""What a preset's name stands for: the checkpoint in this package, or the original on the hub."""
NOTHING: Mapping[str, str] = MappingProxyType({})


def quiet() -> None:
    """Keep the libraries' own bars and hints out of notebooks; errors still come through."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()


class Pipelines:
    """Keep diffusers pipelines in memory between runs; used by one thread only.

    Parameters
    ----------
    device
        Where the models run; the GPU where there is one when not given.
    source
        What preset names stand for: "tiny" or "hub"; see `use`.
    """

    def __init__(self, device: str | None = None, source: str = "tiny") -> None:
        quiet()
        self.device = torch.device(device or ("cuda:0" if torch.cuda.is_available() else "cpu"))
        self.dtype = torch.float16 if self.device.type == "cuda" else torch.float32
        self.source = source
        self._residents = Residents(self.device, self.dtype)
        self._found: dict[str, Checkpoint] = {}

    def acquire(self, preset: Preset, task: str, scheduler: str, extras: Mapping[str, str] = NOTHING) -> Any:
        """Return a pipeline for a task, with a fresh scheduler; weights are shared between tasks.

        Parameters
        ----------
        preset, task
            The model family, and one of its `pipelines`.
        scheduler
            diffusers' class name without "Scheduler".
        extras
            Checkpoints of further components, such as {"controlnet": "a directory"}.

        Raises
        ------
        CheckpointError
            A checkpoint is missing, refused, or larger than the budget; nothing half loaded is kept.
        """
        pipeline_class = getattr(diffusers, preset.pipelines[task])
        found = [self._checkpoint(word) for word in (self._word(preset), *extras.values())]
        needed = frozenset(checkpoint.identity for checkpoint in found)
        base, *added = (self._resident(checkpoint, needed) for checkpoint in found)
        for resident in (base, *added):
            resident.users.add(f"{preset.name} {task}")
        more = {name: one.components["."] for name, one in zip(extras, added, strict=True)}
        return _build(pipeline_class, base, more, scheduler)

    def use(self, source: str) -> None:
        """Choose what preset names stand for: "tiny", the checkpoints in this package, or "hub", the originals."""
        if source not in SOURCES:
            raise ParameterError(f"`use` must be one of {', '.join(SOURCES)}, got {source!r}. {did_you_mean(source, SOURCES)}")
        self.source = source

    def components(self, name: str) -> Mapping[str, Any]:
        """Return the components of a checkpoint in memory, by diffusers' names."""
        return next(one.components for one in self._residents if one.checkpoint.name == name)

    def identity(self, preset: Preset) -> str:
        """Return what identifies the checkpoint's files: a hash of them, or hub id and commit."""
        return self._checkpoint(self._word(preset)).identity

    def scope(self, preset: Preset) -> str:
        """Return what encodings depend on besides their input: checkpoint, dtype, device."""
        return f"{self.identity(preset)} {self.dtype} {self.device}"

    def notices(self, preset: Preset) -> tuple[str, ...]:
        """Return what a person should know about the checkpoint, one line each."""
        return self._checkpoint(self._word(preset)).notices

    def latent_rgb(self, preset: Preset) -> torch.Tensor | None:
        """Return the matrix that turns latents into a rough preview: shape (5, 3), the last row the bias, for [0, 255]."""
        file = self._checkpoint(self._word(preset)).directory / "latent_rgb.json"
        return torch.tensor(json.loads(file.read_text()), dtype=torch.float32) if file.exists() else None

    @property
    def budget(self) -> int:
        """Bytes that weights may take on the device."""
        return self._residents.budget

    def set_budget(self, size: int | None) -> None:
        """Bound the bytes that weights take on the device, at once; None goes back to what the device has free."""
        self._residents.set_budget(size)

    def unload(self, name: str | None = None) -> int:
        """Drop a checkpoint from memory, or all of them; return the bytes of their weights.

        Raises
        ------
        ParameterError
            No checkpoint of this name is in memory.
        """
        size = self._residents.unload(name)
        held = {one.checkpoint.identity for one in self._residents}
        # A directory may have changed when it is asked for again.
        self._found = {word: one for word, one in self._found.items() if one.identity in held}
        return size

    def table(self) -> list[Row]:
        """Return what is in memory, most recently used first."""
        return self._residents.table()

    def _word(self, preset: Preset) -> str:
        return preset.hub if self.source == "hub" else preset.name

    def _checkpoint(self, word: str) -> Checkpoint:
        if word not in self._found:
            self._found[word] = checkpoints.find(word, half=self.dtype != torch.float32)
        return self._found[word]

    def _resident(self, checkpoint: Checkpoint, needed: frozenset[str]) -> Resident:
        dtype = self.dtype

        def measure() -> int:
            return weights_bytes(checkpoint.directory, dtype.itemsize, half=dtype != torch.float32)

        return self._residents.get(checkpoint, measure, lambda: _load(checkpoint, dtype), needed)

    @property
    def _components(self) -> dict[str, Mapping[str, Any]]:
        return {one.checkpoint.name: one.components for one in self._residents}


def _load(checkpoint: Checkpoint, dtype: torch.dtype) -> Resident:
    loaded = loading.load(checkpoint, dtype)
    if isinstance(loaded, torch.nn.Module):
        components: dict[str, Any] = {".": loaded}
        return Resident(checkpoint, components, {}, component_bytes(components))
    components = dict(loaded.components)
    options = {name: value for name, value in loaded.config.items() if name not in components and not name.startswith("_")}
    return Resident(checkpoint, components, options, component_bytes(components))


def _build(pipeline_class: Any, base: Resident, more: Mapping[str, Any], scheduler: str) -> Any:
    """Make a pipeline around resident components.

    `from_pipe` would do the same and cast the shared weights to float32 on the way
    (diffusers issue 12754); the constructor leaves them alone.
    """
    # A pipeline's constructor rewrites the config of the scheduler it is given, so it gets its own.
    fresh = getattr(diffusers, f"{scheduler}Scheduler").from_config(base.components["scheduler"].config)
    accepted = inspect.signature(pipeline_class.__init__).parameters
    given = {**base.options, **base.components, **more, "scheduler": fresh}
    pipeline = pipeline_class(**{name: value for name, value in given.items() if name in accepted})
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
