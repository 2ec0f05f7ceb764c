"""Graphs of ComfyUI: the simple ones, with one sampler, as a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from .a1111 import Parsed
from .carrying import Carriage, loaded

SAMPLER, ADVANCED = "KSampler", "KSamplerAdvanced"
_PLAIN = {"normal", "simple", "ddim_uniform", "sgm_uniform"}
"""Schedules that say what a diffusers scheduler does by itself, as near as the tools come."""
_CHECKPOINTS = ("CheckpointLoaderSimple", "CheckpointLoader", "UNETLoader")
_ENCODERS = ("CLIPTextEncode", "CLIPTextEncodeSDXL")
_PICTURES = ("VAEEncode", "VAEEncodeTiled", "VAEEncodeForInpaint")
_EMPTY = ("EmptyLatentImage", "EmptySD3LatentImage")
_SILENT = ("VAEDecode", "VAEDecodeTiled", "SaveImage", "PreviewImage", "VAELoader")
"""Nodes that say nothing about the picture that a recipe would hold."""
_MOST_NODES = 2000

Node = Mapping[str, Any]


def parse(text: str) -> Parsed:
    """Read the graph that ComfyUI writes into a PNG's `prompt`.

    Parameters
    ----------
    text
        JSON in the API's format: nodes by id, each with `class_type` and `inputs`, where
        a list of an id and a number is a link.

    Returns
    -------
    Parsed
        What could be carried over, and what could not.

    Raises
    ------
    ValueError
        It is no such graph, or none with a sampler.

    Notes
    -----
    Source: ComfyUI `execution.py`, and `nodes.py` for the inputs of each node.
    """
    graph = loaded(text)
    if not isinstance(graph, dict) or len(graph) > _MOST_NODES:
        raise ValueError("no graph of nodes")
    nodes = {str(key): node for key, node in graph.items() if _is_node(node)}
    samplers = [key for key, node in nodes.items() if node["class_type"] in (SAMPLER, ADVANCED)]
    if not samplers:
        raise ValueError("a graph without a KSampler")
    return _Reading(nodes, _last(nodes, samplers), samplers).parsed()


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


def _last(nodes: Mapping[str, Node], samplers: list[str]) -> str:
    """Return the sampler that no other one goes on from: it made the picture."""
    before = {found for key in samplers for found in _above(nodes, key) if found != key and found in samplers}
    return next((key for key in samplers if key not in before), samplers[-1])


def _above(nodes: Mapping[str, Node], start: str) -> Iterator[str]:
    """Yield the nodes that a node depends on, the nearest first, each once."""
    waiting, seen = [start], {start}
    while waiting:
        key = waiting.pop(0)
        yield key
        for value in nodes[key]["inputs"].values():
            linked = _link(nodes, value)
            if linked is not None and linked not in seen:
                seen.add(linked)
                waiting.append(linked)


def _link(nodes: Mapping[str, Node], value: Any) -> str | None:
    linked = isinstance(value, list) and len(value) == 2 and str(value[0]) in nodes
    return str(value[0]) if linked else None


class _Reading:
    """One sampler of a graph, and what it depends on."""

    def __init__(self, nodes: Mapping[str, Node], sampler: str, samplers: list[str]) -> None:
        self._nodes = nodes
        self._carriage = Carriage()
        self._used = {sampler}
        self._inputs = nodes[sampler]["inputs"]
        self._advanced = nodes[sampler]["class_type"] == ADVANCED
        for key in samplers:
            if key != sampler:
                self._used.add(key)
                self._carriage.leave(f"node {key}", nodes[key]["class_type"], "only the last sampler is read")

    def parsed(self) -> Parsed:
        inputs, carriage = self._inputs, self._carriage
        carriage.take("num_inference_steps", self._value("steps"), "steps")
        carriage.take("guidance_scale", self._value("cfg"), "cfg")
        carriage.take("seed", self._value("noise_seed" if self._advanced else "seed"), "seed")
        carriage.take_sampler(self._value("sampler_name"), "sampler_name")
        if self._value("scheduler") not in (None, *_PLAIN):
            carriage.leave("scheduler", self._value("scheduler"), "another schedule of the noise")
        self._latents()
        for field, name in (("prompt", "positive"), ("negative_prompt", "negative")):
            self._prompt(field, name, inputs.get(name))
        self._checkpoint(inputs.get("model"))
        for key, node in self._nodes.items():
            if key not in self._used and node["class_type"] not in _SILENT:
                carriage.leave(f"node {key}", node["class_type"])
        return carriage.parsed()

    def _value(self, name: str) -> Any:
        """Return an input of the sampler; of one that another node gives, that node's own value where it is plain."""
        value = self._inputs.get(name)
        linked = _link(self._nodes, value)
        if linked is None:
            return value
        self._used.add(linked)
        given = self._nodes[linked]["inputs"]
        return next((given[key] for key in ("value", "seed", "noise_seed", "int", "float") if key in given), None)

    def _found(self, start: Any, kinds: tuple[str, ...]) -> str | None:
        linked = _link(self._nodes, start)
        above = _above(self._nodes, linked) if linked is not None else iter(())
        found = next((key for key in above if self._nodes[key]["class_type"] in kinds), None)
        if found is not None:
            self._used.add(found)
        return found

    def _latents(self) -> None:
        carriage, start = self._carriage, self._inputs.get("latent_image")
        empty, encoded = self._found(start, _EMPTY), self._found(start, _PICTURES)
        if encoded is not None:
            # ComfyUI's denoise makes a longer schedule and runs its end: all of `steps` are run.
            carriage.take("strength", self._value("denoise"), "denoise")
            self._stretch()
            loader = self._found([encoded, 0], ("LoadImage", "LoadImageMask"))
            carriage.leave(
                "image", self._nodes[loader]["inputs"].get("image") if loader else "another node's picture", "no pixels"
            )
            if self._nodes[encoded]["class_type"].endswith("Inpaint"):
                carriage.leave("mask", "VAEEncodeForInpaint", "no pixels")
        elif empty is not None:
            carriage.take("width", self._nodes[empty]["inputs"].get("width"), "width")
            carriage.take("height", self._nodes[empty]["inputs"].get("height"), "height")
            batch = self._nodes[empty]["inputs"].get("batch_size")
            if batch not in (None, 1):
                carriage.leave("batch_size", batch, "the first picture's seed")
        if self._advanced:
            for name in ("start_at_step", "end_at_step", "add_noise", "return_with_leftover_noise"):
                if self._inputs.get(name) not in (None, 0, 10000, "enable", "disable"):
                    carriage.leave(name, self._inputs[name])

    def _stretch(self) -> None:
        values = self._carriage.values
        steps, strength = values.get("num_inference_steps"), values.get("strength")
        if steps and strength:
            self._carriage.take("num_inference_steps", math.ceil(steps / strength), "steps")

    def _prompt(self, field: str, name: str, start: Any) -> None:
        found = self._found(start, _ENCODERS)
        if found is None:
            if start is not None:
                self._carriage.leave(name, "the node that it comes from", "no plain text")
            return
        inputs = self._nodes[found]["inputs"]
        text = inputs.get("text", inputs.get("text_g"))
        linked = _link(self._nodes, text)
        if linked is not None:
            self._used.add(linked)
            held = self._nodes[linked]["inputs"]
            text = next((held[key] for key in ("text", "value", "string") if isinstance(held.get(key), str)), None)
        if not isinstance(text, str):
            self._carriage.leave(name, "the node that it comes from", "no plain text")
        elif text.strip() or field == "prompt":
            self._carriage.take(field, text.strip(), name)

    def _checkpoint(self, start: Any) -> None:
        found = self._found(start, _CHECKPOINTS)
        if found is not None:
            inputs = self._nodes[found]["inputs"]
            self._carriage.leave("checkpoint", inputs.get("ckpt_name", inputs.get("unet_name")), "choose a `model`")
