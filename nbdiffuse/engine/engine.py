"""Run one complete recipe: arguments, the pipeline's call, previews, stop, and repair after a failure."""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from ..checkpoints import locate
from ..checkpoints.latent_space import vae_of
from ..devices.failures import DEAD_LINE, GuardedVae, is_device_dead, is_out_of_memory, not_numbers, out_of_memory_line
from ..devices.steps import StepHook
from ..errors import DeviceMemoryError, RunError
from ..families.recognition import recognise_directory
from ..images.latents import Latents
from ..images.mask_edges import edge
from ..images.masks import overlay
from ..images.picture import Picture
from ..pipelines.assembly import name_text_model
from ..pipelines.free_u import freeu_for_a_run
from ..pipelines.packed_latents import unpacked
from ..pipelines.perturbed_attention import attention_put_back
from ..pipelines.pipelines import Pipelines
from ..recipes.corrections import corrects
from ..recipes.lora import unfused
from ..recipes.presets import preset_of
from ..recipes.recipe import Recipe
from ..recipes.resolve import check_weights, checkpoint_text, resolve
from ..recipes.scheduler_rules import settings_of
from ..recipes.sizes import called_pictures, fitted_pictures
from ..recipes.steps import skipped_steps, unrun_steps
from ..results import Result
from ..version import __version__
from . import adapters
from .beginning import begun
from .call_values import call_values
from .embedding_cache import EmbeddingCache
from .faithful import made_faithful
from .notices import notices
from .progress import Progress, StepWatcher


class Engine:
    """Run complete recipes on resident pipelines; used by one thread only."""

    def __init__(self, pipelines: Pipelines) -> None:
        self.pipelines = pipelines
        self.embedding_cache = EmbeddingCache()
        self._dead = False

    def run(
        self,
        recipe: Recipe,
        on_progress: Callable[[Progress], None],
        stop: threading.Event,
        prepare: Callable[[Any], None] = lambda pipeline: None,
        alone: Callable[[], bool] = lambda: True,
    ) -> Result:
        """Run a complete recipe; where memory runs out, once more after each thing that makes room.

        Parameters
        ----------
        recipe
            From `resolve.resolve`.
        on_progress
            Called after each step, on this thread.
        stop
            When set, the run ends after the step under way.
        prepare
            Called with the pipeline, which is this run's own, before it is used.
        alone
            Tells whether no other run is under way on the same weights, so that they may be moved.

        Returns
        -------
        The result; its pictures are PIL images, nothing stays on the device.

        Raises
        ------
        Interrupted
            `stop` was set.
        NonFiniteError
            Latents or pixels stopped being numbers.
        CheckpointError
            The checkpoint cannot be loaded.
        DeviceMemoryError
            Memory stayed short.
        """
        if self._dead:
            raise RunError(DEAD_LINE)
        # Here and not where a recipe is completed: a worker may have what this process lacks.
        preset_of(recipe.model).require_libraries()
        recipe = self._completed(recipe)
        word, extras = checkpoint_text(recipe), adapters.extras(recipe, preset_of(recipe.model))
        made_room: list[str] = []
        while True:
            try:
                # All that is said of the run is said of the same files, whatever is written meanwhile.
                with self.pipelines.held():
                    result = self._once(recipe, on_progress, stop, prepare)
                return dataclasses.replace(result, notices=(*result.notices, *made_room))
            except DeviceMemoryError as error:
                shortage = error
            # Outside the `except`, where nothing holds the failed run any more.
            done = self.pipelines.relieve(word, extras) if alone() else ""
            if not done:
                raise shortage
            made_room.append(f"Memory ran out at first, so {done}.")

    def _once(
        self,
        recipe: Recipe,
        on_progress: Callable[[Progress], None],
        stop: threading.Event,
        prepare: Callable[[Any], None],
    ) -> Result:
        failure: Exception | None = None
        word = checkpoint_text(recipe)
        pipeline = self.acquired(recipe)
        prepare(pipeline)
        pictures = fitted_pictures(recipe)
        unpack = functools.partial(_laid_out, pipeline, recipe)
        watcher = StepWatcher(recipe, on_progress, stop, self.pipelines.latent_rgb(word), unpack)
        watcher.check_stop()
        started = time.perf_counter()
        guard = GuardedVae(vae_of(pipeline.components))
        try:
            with (
                begun(pipeline.scheduler, recipe),
                _hooks(pipeline, watcher, skipped_steps(recipe), unrun_steps(recipe)),
                guard,
                # What draws with torch's own generator leaves it as it was.
                torch.random.fork_rng(enabled=preset_of(recipe.model).unseeded(recipe)),
                attention_put_back(pipeline),
                freeu_for_a_run(pipeline, recipe.get("freeu")),
                self.embedding_cache.reuse(pipeline, *adapters.scopes(self.pipelines, recipe)),
            ):
                # A pipeline that crops around a mask gives PIL images and nothing else.
                kind = "np" if recipe.mask is None or recipe.mask.crop is None else "pil"
                called = called_pictures(recipe, pictures)
                given = call_values(self.pipelines, self.embedding_cache, recipe, pipeline, called)
                output = pipeline(**given, output_type=kind)
                made = output.images
        except (RuntimeError, MemoryError) as error:
            failure = self.explained(error, recipe)
        finally:
            pipeline.maybe_free_model_hooks()
            self.pipelines.rest()
        if guard.encoder_rung:
            # What was kept of it would be used without a word the next time.
            self.embedding_cache.clear()
        if failure is not None:
            # Raised outside the `except`, so that the line does not hold the failed run's tensors.
            raise failure
        if kind == "np" and not np.isfinite(made).all():
            raise not_numbers("The decoded pixels are not numbers", self.pipelines.dtype)
        images = tuple(VaeImageProcessor.numpy_to_pil(made) if kind == "np" else made)
        flagged = tuple(map(bool, getattr(output, "nsfw_content_detected", None) or ()))
        if corrects(recipe.corrections) and not any(flagged):
            images, changed = made_faithful(recipe, images, pictures)
        else:
            changed = ()
        if recipe.mask is not None and recipe.mask.is_laid_over and not any(flagged):
            over = edge(pictures["mask_image"], recipe.mask.overlay, recipe.mask.differential)
            images = tuple(overlay(image, pictures["image"], over) for image in images)
        return Result(
            recipe=recipe,
            images=images,
            initial=pictures.get("image"),
            seconds=time.perf_counter() - started,
            fingerprint=self.fingerprint(recipe),
            notices=(
                *adapters.notices(self.pipelines, recipe),
                *notices(pipeline, recipe, guard, flagged, pictures.get("image"), images),
                *changed,
            ),
            latents=None if any(flagged) else self._latents(recipe, watcher.latents, unpack, images[0]),
            nsfw_content_detected=flagged,
        )

    def _completed(self, recipe: Recipe) -> Recipe:
        """Fill in what only the checkpoint's files say, which were not on this disk when the recipe was completed."""
        if recipe.scheduler is not None:
            return recipe
        locate.fetch_description(str(recipe.checkpoint))
        complete = resolve(recipe)
        return complete if complete.scheduler else complete.replace(scheduler=preset_of(recipe.model).scheduler)

    def acquired(self, recipe: Recipe) -> Any:
        """Return the recipe's pipeline; loading and moving weights can run out of memory, too."""
        preset = preset_of(recipe.model)
        pipeline, extras = preset.pipeline(recipe), adapters.extras(recipe, preset)
        # What came from the hub a moment ago is looked at before any of it is loaded.
        check_weights(recipe, preset, recognise_directory(self.pipelines.directory(checkpoint_text(recipe))))
        try:
            word, settings = checkpoint_text(recipe), settings_of(recipe)
            brought = recipe.embeddings, recipe.ip_adapters
            beside = [one for _, one in unfused(recipe.loras)]
            made = self.pipelines.acquire(
                word, pipeline, str(recipe.scheduler), extras, settings, *brought, preset.options(recipe), beside, recipe.vae
            )
            for name, value in preset.missing_config(recipe).items():
                made.transformer.register_to_config(**{name: value})
            adapters.check(recipe, made)
            if recipe.get("clip_skip") is not None:
                name_text_model(made)
            if recipe.safety_checker is not None and hasattr(made, "safety_checker"):
                # As `from_pretrained(..., safety_checker=None)` leaves it.
                made.safety_checker = None
            return made
        except (RuntimeError, MemoryError) as error:
            failure = self.explained(error, recipe)
        raise failure

    def explained(self, error: Exception, recipe: Recipe) -> Exception:
        """Return a line in place of a device's own message; any other error as it is."""
        self._dead = self._dead or is_device_dead(error)
        if not self._dead and not is_out_of_memory(error):
            return error
        device, size = self.pipelines.device, (recipe.width or 0, recipe.height or 0)
        short = DeviceMemoryError(out_of_memory_line(device, size, self.pipelines.optimizations.relief(device)))
        line = RunError(DEAD_LINE) if self._dead else short
        line.details = "".join(traceback.format_exception(error))
        return line

    def _latents(
        self, recipe: Recipe, latents: torch.Tensor | None, unpack: Callable[[torch.Tensor], torch.Tensor], view: Image.Image
    ) -> Latents | None:
        """Put the last step's latents into their envelope; inpainting changes them after its last step."""
        if latents is None or not preset_of(recipe.model).keeps_latents(recipe):
            return None
        first = unpack(latents)[0].detach().to("cpu")
        array = (first if first.dtype == torch.float16 else first.float()).numpy()
        return Latents(array, self.pipelines.space(checkpoint_text(recipe), recipe.vae), Picture.of(view, label="step before"))

    def fingerprint(self, recipe: Recipe) -> dict[str, str]:
        """Return what else can change the pixels of a complete recipe, without loading its weights."""
        recipe = self._completed(recipe)
        preset = preset_of(recipe.model)
        return {
            "nbdiffuse": __version__,
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
            "device": self.pipelines.device.type,
            "dtype": str(self.pipelines.dtype).removeprefix("torch."),
            **_threads(self.pipelines.device.type),
            "pipeline": preset.pipeline(recipe),
            "scheduler": f"{recipe.scheduler}Scheduler",
            **self.pipelines.optimizations.fingerprint(),
            **adapters.fingerprints(self.pipelines, recipe),
            **({name: version(name) for name in ("scikit-image", "scipy")} if corrects(recipe.corrections) else {}),
            **({"compel": version("compel")} if recipe.weighs else {}),
        }


def _laid_out(pipeline: Any, recipe: Recipe, latents: torch.Tensor) -> torch.Tensor:
    """Return a step's latents with their channels, height and width apart."""
    size = (recipe.width or 0, recipe.height or 0)
    return unpacked(pipeline, latents, size) if preset_of(recipe.model).packed else latents


def _threads(device: str) -> dict[str, str]:
    """Return how many threads share a sum on the CPU: another number adds in another order."""
    return {"threads": str(torch.get_num_threads())} if device == "cpu" else {}


@contextmanager
def _hooks(pipeline: Any, watcher: StepWatcher, skipped: int, unrun: int) -> Iterator[None]:
    """Watch the denoising steps, and let a stop request end the steps of a prior too."""
    prior = getattr(pipeline, "prior_scheduler", None)
    with ExitStack() as hooks:
        hooks.enter_context(StepHook(pipeline.scheduler, watcher, skipped, unrun))
        if prior is not None:
            hooks.enter_context(StepHook(prior, lambda step: watcher.check_stop()))
        yield
