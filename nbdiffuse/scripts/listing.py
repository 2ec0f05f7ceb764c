"""A Python program as it is put together: its imports, its pictures, its lines."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from PIL import Image

from ..images.latents import Latents
from ..images.picture import Picture
from .statements import call, identifier, import_block, literal, one_line


class Listing:
    """Collects what a program says, so that every import stands once, at the top.

    Parameters
    ----------
    own_folder
        Whether the program looks for its pictures in the folder where it lies itself;
        else in the one where it is run.
    """

    def __init__(self, own_folder: bool) -> None:
        self.own_folder = own_folder
        self.pictures: dict[str, Image.Image] = {}
        self.starts_between = False
        """Whether the pipeline that is loaded begins between two steps of its schedule."""
        self._modules: set[str] = set()
        self._names: defaultdict[str, set[str]] = defaultdict(set)
        self._constants: dict[str, str] = {}
        self._functions: set[str] = set()
        self._lines: list[str] = []

    def use(self, module: str, *names: str) -> None:
        """Import names from a module, or the module."""
        # An import cannot be a literal: it is made of identifiers, or it is refused.
        for part in (*module.removesuffix(" as np").split("."), *names):
            identifier(part)
        if names:
            self._names[module].update(names)
        else:
            self._modules.add(module)

    def constant(self, line: str, comment: str = "") -> None:
        """Put a line above all others, once."""
        self._constants[line] = comment

    def define(self, function: Callable[..., Any]) -> None:
        """Add a function of this package, once; its imports are the caller's to name."""
        if function.__name__ not in self._functions:
            self._functions.add(function.__name__)
            while self._lines and not self._lines[-1]:
                self._lines.pop()
            self.add("", "", *inspect.getsource(function).rstrip().splitlines(), "", "")

    def add(self, *lines: str) -> None:
        """Add lines."""
        self._lines += lines

    def section(self, comment: str = "") -> None:
        """Leave a line empty, and begin with a comment."""
        if self._lines:
            self._lines.append("")
        if comment:
            self._lines.append(f"# {one_line(comment)}")

    def opened(self, picture: Picture | Latents, name: str) -> str:
        """Return the source that opens a picture; it becomes one of the program's own files."""
        file = f"{name}-{picture.address[7:19]}.png"
        self.pictures[file] = picture.image
        self.use("PIL", "Image")
        if not self.own_folder:
            return f"Image.open({literal(file)})"
        self.use("pathlib", "Path")
        self.constant("folder = Path(__file__).parent")
        return f"Image.open(folder / {literal(file)})"

    def assign(self, name: str, function: str, arguments: Iterable[str], tail: str = "") -> None:
        """Add a line that assigns what a call returns."""
        self.add(*call(f"{name} = {function}", arguments, tail))

    def text(self, title: str) -> str:
        """Return the whole program."""
        constants: list[str] = []
        for line, comment in self._constants.items():
            constants += [f"# {one_line(comment)}", line] if comment else [line]
        parts = [[f'"""{title}"""'], import_block(self._modules, self._names), constants, self._lines]
        return "\n\n".join("\n".join(part) for part in parts if part) + "\n"
