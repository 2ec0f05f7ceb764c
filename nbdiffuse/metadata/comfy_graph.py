"""Graphs of ComfyUI as values: links, what a node depends on, and which samplers made the picture that was saved."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .imported import loaded

Node = Mapping[str, Any]
MOST_NODES = 2000
_MOST_PASSES = 20
_PLAIN = ("value", "seed", "noise_seed", "int", "float", "number", "Number", "Value")
_TEXTS = ("text", "value", "string", "prompt", "populated_text", "wildcard_text", "String", "Text", "text_0")
_LATENTS = ("latent_image", "latent", "samples")
_PARTS_OF_SAMPLERS = ("noise", "sigmas", "sampler", "guider")


class Graph:
    """Nodes by id, each with `class_type` and `inputs`, where a list of an id and a number is a link.

    Parameters
    ----------
    text
        JSON in the API's format.

    Raises
    ------
    ValueError
        It is no such graph, or none with a sampler.
    """

    def __init__(self, text: str) -> None:
        graph = loaded(text)
        if not isinstance(graph, dict) or len(graph) > MOST_NODES:
            raise ValueError("no graph of nodes")
        self.nodes: dict[str, Node] = {str(key): node for key, node in graph.items() if _is_node(node)}
        self.samplers = [key for key, node in self.nodes.items() if _is_sampler(node)]
        if not self.samplers:
            raise ValueError("a graph without a KSampler")

    def kind(self, key: str) -> str:
        """Return a node's class."""
        return str(self.nodes[key]["class_type"])

    def inputs(self, key: str) -> Mapping[str, Any]:
        """Return a node's inputs."""
        inputs: Mapping[str, Any] = self.nodes[key]["inputs"]
        return inputs

    def link(self, value: Any) -> str | None:
        """Return the node that an input comes from; None where it is a value of its own."""
        linked = isinstance(value, list) and len(value) == 2 and str(value[0]) in self.nodes
        return str(value[0]) if linked else None

    def above(
        self, start: Any, stop: Callable[[str], bool] = lambda key: False, skip: frozenset[str] = frozenset()
    ) -> Iterator[str]:
        """Yield the nodes that an input depends on, the nearest first, each once.

        Parameters
        ----------
        start
            An input, perhaps a link.
        stop
            Tells of a node whether what lies above it is left out.
        skip
            Names of inputs that are not followed.
        """
        first = self.link(start)
        waiting, seen = ([] if first is None else [first]), {first}
        while waiting:
            key = waiting.pop(0)
            yield key
            if stop(key):
                continue
            for name, value in self.inputs(key).items():
                linked = self.link(value)
                if linked is not None and linked not in seen and name not in skip:
                    seen.add(linked)
                    waiting.append(linked)

    def passes(self, sampler: str) -> list[str]:
        """Return the samplers that a picture went through, the first one first and `sampler` last."""
        found = [sampler]
        while len(found) < _MOST_PASSES:
            before = next((key for key in self.above(self.latents(found[0])) if key in self.samplers), None)
            if before is None or before in found:
                break
            found.insert(0, before)
        return found

    def latents(self, sampler: str) -> Any:
        """Return the input that a sampler's latents come in by."""
        inputs = self.inputs(sampler)
        return next((inputs[name] for name in _LATENTS if name in inputs), None)

    def settings(self, sampler: str) -> dict[str, Any]:
        """Return a sampler's inputs, with those of the nodes that are parts of it."""
        inputs = dict(self.inputs(sampler))
        for name in _PARTS_OF_SAMPLERS:
            part = self.link(inputs.get(name))
            if part is not None:
                inputs = {**self.inputs(part), **inputs}
        return inputs

    def parts(self, sampler: str) -> list[str]:
        """Return the nodes that are parts of a sampler."""
        return [key for name in _PARTS_OF_SAMPLERS if (key := self.link(self.inputs(sampler).get(name))) is not None]

    def plain(self, value: Any) -> Any:
        """Return an input's value; of one that another node gives, that node's own where it is plain, else None."""
        for _ in range(MOST_NODES):
            linked = self.link(value)
            if linked is None:
                return None if isinstance(value, list) else value
            value = next((self.inputs(linked)[key] for key in _PLAIN if key in self.inputs(linked)), None)
        return None

    def text(self, value: Any) -> tuple[str | None, list[str]]:
        """Return an input's text, None where no node says it plainly, and the nodes that it comes from."""
        used: list[str] = []
        for _ in range(MOST_NODES):
            linked = self.link(value)
            if linked is None or linked in used:
                break
            used.append(linked)
            inputs = self.inputs(linked)
            if "string_a" in inputs and "string_b" in inputs:
                parts = [inputs["string_a"], inputs["string_b"]]
                if all(isinstance(part, str) for part in parts):
                    return str(inputs.get("delimiter", "")).join(parts), used
                return None, used
            value = next((inputs[key] for key in _TEXTS if key in inputs), None)
        return (value if isinstance(value, str) else None), used

    def saved(self, name: str = "") -> tuple[str | None, str, int]:
        """Return the node that saved a picture, None where none did; its last sampler; and how many pictures the graph saves.

        Parameters
        ----------
        name
            Of the picture's file; of several it tells by its beginning which one it is.
        """
        outputs = [key for key in self.nodes if "save" in self.kind(key).lower()]
        outputs = outputs or [key for key in self.nodes if "preview" in self.kind(key).lower()]
        made = {key: sampler for key in outputs if (sampler := self._sampler_above(key)) is not None}
        if not made:
            return None, self._last(), 1
        named = [key for key in made if _begins(name, self.inputs(key).get("filename_prefix"))]
        candidates = named or list(made)
        # Of several it is rather the one that most went into.
        chosen = max(candidates, key=lambda key: len(self.passes(made[key])))
        return chosen, made[chosen], 1 if len(named) == 1 else len(set(made.values()))

    def _sampler_above(self, output: str) -> str | None:
        return next((key for value in self.inputs(output).values() for key in self.above(value) if key in self.samplers), None)

    def _last(self) -> str:
        """Return the sampler that no other one goes on from."""
        before = {key for sampler in self.samplers for key in self.passes(sampler)[:-1]}
        return next((key for key in self.samplers if key not in before), self.samplers[-1])


def _begins(name: str, prefix: Any) -> bool:
    """Whether ComfyUI gives such a name for a prefix: it counts behind it."""
    if not isinstance(prefix, str) or not name:
        return False
    start = re.split(r"[\\/]", prefix)[-1]
    return bool(start) and re.fullmatch(r"_\d+_?(?:\.\w+)?", name.removeprefix(start)) is not None and name.startswith(start)


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


def _is_sampler(node: Node) -> bool:
    """Whether a node denoises a whole picture: nodes that go over faces or tiles take no latents."""
    inputs = set(node["inputs"])
    if node["class_type"] in ("KSampler", "KSamplerAdvanced"):
        return True
    return bool(inputs & set(_LATENTS)) and ({"sampler_name", "steps", "cfg"} <= inputs or {"sampler", "sigmas"} <= inputs)
