"""diffusers' pipeline classes, read from its source: their names, their calls' defaults, and which serves which task.

Importing diffusers takes seconds and brings torch along. A cell that only shows help or a
plan must not wait for that, so the source is parsed instead; a test compares with the
imported classes.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import RunError

MAPPINGS = {
    "txt2img": "AUTO_TEXT2IMAGE_PIPELINES_MAPPING",
    "img2img": "AUTO_IMAGE2IMAGE_PIPELINES_MAPPING",
    "inpaint": "AUTO_INPAINT_PIPELINES_MAPPING",
}
"""Each task, and the table of diffusers' `auto_pipeline.py` that names its pipelines."""
AUTOMATIC = {
    "AutoPipelineForText2Image": "txt2img",
    "AutoPipelineForImage2Image": "img2img",
    "AutoPipelineForInpainting": "inpaint",
}
"""Each automatic class, and its task."""
_FRAMES = {"num_frames", "video", "video_length", "frames"}
UNKNOWN = object()
"""Stands for a default that is no literal."""


@cache
def auto_pipelines(task: str) -> Mapping[str, str]:
    """Return the pipelines that diffusers' automatic classes know for a task.

    Parameters
    ----------
    task
        A key of `MAPPINGS`.

    Returns
    -------
    Mapping of str to str
        Class names by diffusers' own key, such as "flux": "FluxImg2ImgPipeline".

    Notes
    -----
    Source: diffusers `pipelines/auto_pipeline.py`.
    """
    found: dict[str, str] = {}
    for node in ast.walk(_parsed(_pipelines() / "auto_pipeline.py")):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == MAPPINGS[task]:
            found |= dict(_pairs(node.value))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            # Some are added where another library is installed.
            target = node.targets[0]
            if isinstance(target.value, ast.Name) and target.value.id == MAPPINGS[task] and isinstance(node.value, ast.Name):
                found[ast.literal_eval(target.slice)] = node.value.id
    return MappingProxyType(found)


def automatic_class(pipeline: str) -> str:
    """Return the class whose `from_pretrained` chooses a pipeline by its task; the pipeline's own where there is none."""
    # Z-Image's inpainting with a ControlNet stands among those that draw from a prompt, under a key of its own.
    tasks = ((name, task) for name, task in AUTOMATIC.items() if task == "inpaint" or "Inpaint" not in pipeline)
    return next((name for name, task in tasks if pipeline in auto_pipelines(task).values()), pipeline)


@cache
def call_defaults(pipeline: str) -> Mapping[str, Any]:
    """Return the arguments of a pipeline's call, each with its default.

    Parameters
    ----------
    pipeline
        diffusers' class name.

    Returns
    -------
    Mapping of str to Any
        In the order of the signature, without `self` and `**kwargs`; `inspect.Parameter.empty`
        for an argument that must be given, `UNKNOWN` for a default that is no literal.

    Raises
    ------
    RunError
        The installed diffusers has no such pipeline.
    """
    return MappingProxyType(_signature(_method(pipeline, "__call__")))


def may_take(pipeline: str, argument: str) -> bool:
    """Tell whether a pipeline's call can take an argument, by its source's text alone: parsing it takes much longer.

    Parameters
    ----------
    pipeline
        diffusers' class name.
    argument
        A name.

    Returns
    -------
    bool
        False where it surely takes none of that name.

    Raises
    ------
    RunError
        The installed diffusers has no such pipeline.
    """
    words = _words(_file(pipeline))
    # One without a call of its own has that of its base, which may stand in another file.
    return argument in words or "__call__" not in words


@cache
def makes_video(pipeline: str) -> bool:
    """Tell whether a pipeline of the installed diffusers makes or takes frames of a video."""
    try:
        return not _FRAMES.isdisjoint(call_defaults(pipeline))
    except RunError:
        return False


@cache
def init_defaults(pipeline: str) -> Mapping[str, Any]:
    """Return what a pipeline's constructor takes, its components and options, each with its default as in `call_defaults`."""
    return MappingProxyType(_signature(_method(pipeline, "__init__")))


@cache
def bases(pipeline: str) -> tuple[str, ...]:
    """Return the names of the classes that a pipeline is made from, such as the loaders of adapters that it has."""
    return tuple(base.id for base in _class(pipeline).bases if isinstance(base, ast.Name))


@cache
def _pipelines() -> Path:
    spec = importlib.util.find_spec("diffusers")
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise RunError("diffusers is not installed. Run `pip install diffusers`, then restart the kernel.")
    return Path(places[0]) / "pipelines"


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


@cache
def _folders() -> Mapping[str, Path]:
    """Return the folder of each pipeline class, as `pipelines/__init__.py` lists them for lazy imports."""
    found: dict[str, Path] = {}
    for node in ast.walk(_parsed(_pipelines() / "__init__.py")):
        for key, value in _entries(node):
            for name in ast.walk(value):
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    found.setdefault(name.value, _pipelines().joinpath(*key.split(".")))
    return MappingProxyType(found)


def _entries(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield folder and class names of `_import_structure = {...}`, `_import_structure["x"] = [...]` and `["x"].extend([...])`."""
    if isinstance(node, ast.Assign):
        target, value = node.targets[0], node.value
        if isinstance(target, ast.Name) and target.id == "_import_structure" and isinstance(value, ast.Dict):
            for key, names in zip(value.keys, value.values, strict=True):
                if isinstance(key, ast.Constant):
                    yield str(key.value), names
        elif isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
            yield str(target.slice.value), value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("extend", "append"):
        target = node.func.value
        if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant) and node.args:
            yield str(target.slice.value), node.args[0]


@cache
def _file(name: str) -> Path:
    """Return the file that has the source of a pipeline class."""
    folder = _folders().get(name)
    files = sorted(folder.glob("*.py")) if folder and folder.is_dir() else [folder.with_suffix(".py")] if folder else []
    for file in files:
        if file.is_file() and f"class {name}(" in file.read_text("utf-8"):
            return file
    raise RunError(f"The installed diffusers has no pipeline called {name}. Update it: `pip install -U diffusers`.")


@cache
def _words(file: Path) -> frozenset[str]:
    """Return the names that begin a line as an argument does, and those of the functions."""
    return frozenset(re.findall(r"^[ \t]+(?:def )?(\w+)[ \t]*[:=,(]", file.read_text("utf-8"), re.MULTILINE))


@cache
def _class(name: str) -> ast.ClassDef:
    return next(node for node in _parsed(_file(name)).body if isinstance(node, ast.ClassDef) and node.name == name)


def _method(pipeline: str, name: str) -> ast.FunctionDef:
    """Return a method of a class, or of the first of its bases that has it."""
    waiting = [pipeline]
    while waiting:
        owner = _class(waiting.pop(0))
        for node in owner.body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return node
        waiting += [base.id for base in owner.bases if isinstance(base, ast.Name) and base.id in _folders()]
    raise RunError(f"{pipeline} of the installed diffusers has no `{name}` that can be read.")


def _signature(function: ast.FunctionDef) -> dict[str, Any]:
    given = function.args
    names = [*given.posonlyargs, *given.args]
    missing: list[ast.expr | None] = [None] * (len(names) - len(given.defaults))
    pairs = [*zip(names, [*missing, *given.defaults], strict=True), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    return {
        one.arg: inspect.Parameter.empty if default is None else _value(default) for one, default in pairs if one.arg != "self"
    }


def _value(node: ast.expr) -> Any:
    """Return what a default stands for: a literal, or arithmetic on literals such as `1024**2`."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        pass
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        if isinstance(left, (int, float)) and isinstance(right, (int, float)):
            if isinstance(node.op, ast.Mult):
                return left * right
            if isinstance(node.op, ast.Pow) and right <= 8:
                return left**right
            if isinstance(node.op, ast.Div):
                return left / right
    return UNKNOWN


def _pairs(node: ast.expr) -> Iterator[tuple[str, str]]:
    for one in ast.walk(node):
        if isinstance(one, ast.Tuple) and len(one.elts) == 2:
            key, name = one.elts
            if isinstance(key, ast.Constant) and isinstance(name, ast.Name):
                yield str(key.value), name.id
