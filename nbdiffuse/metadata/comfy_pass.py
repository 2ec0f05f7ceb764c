"""One pass of a picture of ComfyUI: a sampler, and what it depends on, as a recipe's fields."""

from __future__ import annotations

import math
from typing import Any

from .comfy_graph import MOST_NODES, Graph
from .imported import ImportedParameters

_MODEL_INPUTS = frozenset({"model", "clip", "vae", "positive", "negative", "noise", "sigmas", "sampler", "guider"})
_JOINS = ("conditioning", "conditioning_1", "conditioning_to", "positive", "cond1")
_CHECKPOINTS = ("ckpt_name", "unet_name", "model_name")
_WIDTHS = ("width", "empty_latent_width")
_SEEDS = ("seed", "noise_seed")


class Pass:
    """One sampler of a graph, and what it depends on.

    Parameters
    ----------
    graph
        The whole graph.
    sampler
        Its node.
    before
        The pass whose picture it redraws, or None.

    Attributes
    ----------
    imported
        A recipe's fields, and what stays behind.
    used
        Nodes that are told by them.
    """

    def __init__(self, graph: Graph, sampler: str, before: Pass | None) -> None:
        self._graph, self._sampler, self._before = graph, sampler, before
        self._settings = graph.settings(sampler)
        self.used = {sampler, *graph.parts(sampler)}
        self.imported = imported = ImportedParameters()
        for field, names in (("num_inference_steps", ("steps",)), ("guidance_scale", ("cfg",)), ("seed", _SEEDS)):
            self._number(field, names)
        imported.take_sampler(self._value("sampler_name"), "sampler_name")
        imported.take_schedule(self._value("scheduler"))
        if before is None:
            self._first_latents()
        else:
            self._later_latents(before)
        self.family = ""
        for field, name in (("prompt", "positive"), ("negative_prompt", "negative")):
            self._prompt(field, name)
        self._model()

    def _value(self, name: str) -> Any:
        value = self._settings.get(name)
        linked = self._graph.link(value)
        if linked is not None:
            self.used.add(linked)
        found = self._graph.plain(value)
        if found is None and linked is not None:
            self.imported.leave(name, self._graph.kind(linked), f"node {linked} gives it")
        return found

    def _number(self, field: str, names: tuple[str, ...]) -> None:
        for name in names:
            if name in self._settings:
                self.imported.take(field, self._value(name), name)
                return

    def _first_latents(self) -> None:
        imported, graph = self.imported, self._graph
        start = graph.latents(self._sampler)
        path = list(graph.above(start, stop=lambda key: "pixels" in graph.inputs(key), skip=_MODEL_INPUTS))
        encoded = next((key for key in path if "pixels" in graph.inputs(key)), None)
        empty = next((key for key in path if any(side in graph.inputs(key) for side in _WIDTHS)), None)
        if encoded is not None:
            self.used.add(encoded)
            self._redraws()
            self._picture(encoded)
        elif empty is not None:
            self.used.add(empty)
            inputs = graph.inputs(empty)
            for name in ("width", "height"):
                imported.take(name, graph.plain(inputs.get(name, inputs.get(f"empty_latent_{name}"))), name)
            batch = inputs.get("batch_size")
            if batch not in (None, 1):
                imported.leave("batch_size", batch, "the first picture's seed")
        for name in ("start_at_step", "end_at_step"):
            if self._settings.get(name) not in (None, 0) and not self._runs_to_the_end(name):
                imported.leave(name, self._settings[name])

    def _runs_to_the_end(self, name: str) -> bool:
        end, steps = self._settings.get("end_at_step"), self.imported.values.get("num_inference_steps")
        return name == "end_at_step" and isinstance(end, int) and steps is not None and end >= steps

    def _picture(self, encoded: str) -> None:
        graph, imported = self._graph, self.imported
        above = list(graph.above([encoded, 0], skip=frozenset({"mask"})))
        loader = next((key for key in above if graph.kind(key).startswith("LoadImage")), None)
        self.used |= {loader} if loader else set()
        imported.leave("image", graph.inputs(loader).get("image") if loader else "another node's picture", "no pixels")
        masked = [key for key in (encoded, *graph.above(graph.latents(self._sampler))) if "mask" in graph.inputs(key)]
        if masked:
            self.used.update(masked)
            imported.leave("mask", graph.kind(masked[0]), "no pixels")

    def _redraws(self) -> None:
        """Take the strength: ComfyUI's denoise makes a longer schedule and runs its end, so all of `steps` are run."""
        imported, start = self.imported, self._settings.get("start_at_step")
        steps = imported.values.get("num_inference_steps")
        if isinstance(start, int) and steps and 0 < start < steps:
            imported.take("strength", (steps - start) / steps, "start_at_step")
            imported.leave("start_at_step", start, f"here a pass of strength {(steps - start) / steps:g} adds noise of its own")
            return
        imported.take("strength", self._value("denoise") if "denoise" in self._settings else 1.0, "denoise")
        strength = imported.values.get("strength")
        if steps and strength:
            imported.take("num_inference_steps", math.ceil(round(steps / strength, 6)), "steps")

    def _later_latents(self, before: Pass) -> None:
        """Take the strength and the size of a pass that redraws what the one before made."""
        graph, imported = self._graph, self.imported
        self._redraws()
        factor, size = 1.0, (before.imported.values.get("width"), before.imported.values.get("height"))
        stop = before._sampler
        for key in graph.above(graph.latents(self._sampler), stop=lambda key: key == stop, skip=_MODEL_INPUTS):
            inputs = graph.inputs(key)
            if key == stop:
                continue
            self.used |= {key} if {"width", "scale_by", "samples", "pixels"} & set(inputs) else set()
            sides = graph.plain(inputs.get("width")), graph.plain(inputs.get("height"))
            by = graph.plain(inputs.get("scale_by"))
            if isinstance(by, (int, float)) and math.isfinite(by):
                factor *= by
            elif all(isinstance(side, int) and side > 0 for side in sides):
                size = sides
                break
            elif "upscale_model" in inputs or "megapixels" in inputs:
                self.used.add(key)
                imported.leave(
                    f"node {key}", graph.kind(key), "it makes the picture larger by an amount that the graph does not say"
                )
        for name, side in zip(("width", "height"), size, strict=True):
            if isinstance(side, int) and abs(side * factor) < 1e6:
                imported.take(name, round(side * factor / 8) * 8, name)

    def _prompt(self, field: str, name: str) -> None:
        start = self._settings.get(name, self._settings.get("conditioning") if name == "positive" else None)
        if start is None:
            return
        found, zeroed = self._conditioning(start, name)
        if zeroed:
            self.imported.leave(name, "ConditioningZeroOut", "zeros stand there in the place of words; here it is left open")
        elif found is None:
            self.imported.leave(name, "the node that it comes from", "no plain text")
        else:
            self._texts(field, name, found)

    def _conditioning(self, start: Any, name: str) -> tuple[str | None, bool]:
        """Return the node whose text a conditioning comes from, and whether it was zeroed on the way."""
        graph, value = self._graph, start
        for _ in range(MOST_NODES):
            key = graph.link(value)
            if key is None:
                return None, False
            if graph.kind(key) == "ConditioningZeroOut":
                self.used.add(key)
                return None, True
            inputs = graph.inputs(key)
            if "TextEncode" in graph.kind(key) or isinstance(inputs.get(name), str):
                return key, False
            # A node with both hands each through; others join several, of which the first is read.
            value = inputs.get(name) if {"positive", "negative"} <= set(inputs) else None
            value = value if value is not None else next((inputs[one] for one in _JOINS if one in inputs), None)
            if value is None:
                return next((one for one in graph.above([key, 0]) if "TextEncode" in graph.kind(one)), None), False
        return None, False

    def _texts(self, field: str, name: str, key: str) -> None:
        graph, inputs = self._graph, self._graph.inputs(key)
        self.used.add(key)
        self.family += graph.kind(key).removeprefix("CLIPTextEncode")
        # The second encoder of SDXL is the one that ComfyUI calls g.
        for target, names in (
            (field, ("text_l", "text", name, "prompt", "t5xxl", "clip_l", "text_g")),
            (f"{field}_2", ("text_g",)),
        ):
            said = next((inputs[one] for one in names if one in inputs), None)
            if said is None:
                continue
            text, used = graph.text(said)
            self.used.update(used)
            if text is None:
                self.imported.leave(name, "the node that it comes from", "no plain text")
            elif target.endswith("_2"):
                if text.strip() and text.strip() != self.imported.values.get(field, ""):
                    self.imported.take(target, text.strip(), "text_g")
            elif text.strip() or field == "prompt":
                self.imported.take(target, text.strip(), name)

    def _model(self) -> None:
        graph, loras, found = self._graph, list[tuple[Any, Any, Any]](), None
        # The nearest first, so that those next to the checkpoint come last.
        for key in graph.above(self._settings.get("model"), skip=frozenset({"clip", "vae"})):
            inputs = graph.inputs(key)
            said = (inputs.get("lora_name"), inputs.get("strength_model", 1.0), inputs.get("strength_clip"))
            named = [said] if isinstance(said[0], str) else []
            named += [
                (one["lora"], one.get("strength", 1.0), one.get("strengthTwo"))
                for one in inputs.values()
                if isinstance(one, dict) and isinstance(one.get("lora"), str) and one.get("on")
            ]
            loras = [*named, *loras]
            found = next((inputs[name] for name in _CHECKPOINTS if name in inputs), None)
            self.used |= {key} if named or found is not None else set()
            if found is not None:
                break
        found = found.get("content") if isinstance(found, dict) else graph.plain(found)
        self.checkpoint = found if isinstance(found, str) else None
        before = self._before
        if before is not None and before.checkpoint == self.checkpoint and "model" in before.imported.values:
            self.imported.values["model"] = before.imported.values["model"]
        self.imported.take_model(self.checkpoint, family=self.family, said_as="checkpoint")
        for lora, weight, in_text_encoders in loras:
            number = graph.plain(weight)
            self.imported.take_lora(lora, 1.0 if number is None else number, in_text_encoders=graph.plain(in_text_encoders))
