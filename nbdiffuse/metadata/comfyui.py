"""Graphs of ComfyUI as recipes: one for each pass that the saved picture went through."""

from __future__ import annotations

from .a1111 import Parsed
from .comfy_graph import Graph
from .comfy_pass import Pass
from .imported import ImportedParameters

_SILENT = ("VAEDecode", "VAEDecodeTiled", "CLIPLoader", "DualCLIPLoader", "UpscaleModelLoader", "ControlNetLoader", "Reroute")
"""Nodes that say nothing about the picture that a recipe would hold, or are told by what they give."""


def parse(text: str, name: str = "") -> Parsed:
    """Read the graph that ComfyUI writes into a picture's `prompt`.

    Parameters
    ----------
    text
        JSON in the API's format: nodes by id, each with `class_type` and `inputs`, where
        a list of an id and a number is a link.
    name
        Of the picture's file, see `Graph.saved`.

    Returns
    -------
    Parsed
        What could be carried over, and what could not; of a picture that went through
        several samplers each is a pass.

    Raises
    ------
    ValueError
        It is no such graph, or none with a sampler.

    Notes
    -----
    Source: ComfyUI `execution.py`, and `nodes.py` for the inputs of each node.
    """
    graph = Graph(text)
    output, last, count = graph.saved(name)
    passes: list[Pass] = []
    for sampler in graph.passes(last):
        passes.append(Pass(graph, sampler, passes[-1] if passes else None))
    left = _left(passes)
    if count > 1:
        left.append(f"The graph saves {count} pictures that were made differently: this is what node {last} made.")
    used = {key for one in passes for key in one.used}
    whole = ImportedParameters(passes[-1].imported.values)
    for key in _branch(graph, output or last):
        if key not in (*used, output) and graph.kind(key) not in _SILENT:
            whole.leave(f"node {key}", _named(graph, key))
    return whole.parsed(tuple(left), tuple({"prompt": "", **one.imported.values} for one in passes[:-1]))


def _named(graph: Graph, key: str) -> str:
    """Return a node's class, with the first of its own values: the name of a file, or a number."""
    values = [str(value) for value in graph.inputs(key).values() if isinstance(value, (str, int, float))]
    return " ".join([graph.kind(key), *values[:1]])


def _branch(graph: Graph, end: str) -> list[str]:
    """Return what the saved picture depends on, in the graph's order."""
    above = {end, *(key for value in graph.inputs(end).values() for key in graph.above(value))}
    return [key for key in graph.nodes if key in above]


def _left(passes: list[Pass]) -> list[str]:
    """Return what stays behind of each pass; what does of all of them once."""
    said = [one.imported.parsed().left_out for one in passes]
    common = [line for line in said[0] if all(line in other for other in said)]
    numbered = enumerate(said, start=1)
    return common + [f"Pass {number}: {line}" for number, lines in numbered for line in lines if line not in common]
