"""What `%load_ext nbdiffuse` does: it names the magics, and imports what runs them with the first one that is used.

A notebook that loads the extension waits for nothing that it may not use.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

CELL_MAGICS = ("img2img", "txt2img", "edit", "chain", "loopback")
LINE_MAGICS = ("diffuse",)


class DeferredMagic:
    """A magic whose code is imported when it is called, or when its help is asked for.

    Parameters
    ----------
    name
        Of the magic, without its signs.
    kind
        "cell" or "line".
    load
        Registers the magics themselves in the place of all of these.
    """

    # IPython asks a magic for this before it expands `$name` and `{name}` in its line.
    _ipython_magic_no_var_expand = True

    def __init__(self, name: str, kind: str, shell: InteractiveShell, load: Callable[[], None]) -> None:
        self._name, self._kind, self._shell, self._load = name, kind, shell, load

    @property
    def loaded(self) -> Callable[..., Any]:
        """The magic itself."""
        self._load()
        magic: Callable[..., Any] = self._shell.magics_manager.magics[self._kind][self._name]
        return magic

    def __call__(self, *given: str) -> Any:
        return self.loaded(*given)

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        """The help of the magic."""
        return self.loaded.__doc__


def load(shell: InteractiveShell) -> None:
    """Register the magics and Tab completion of a shell, once."""
    from IPython.core.magic import MAGIC_NO_VAR_EXPAND_ATTR

    if not getattr(DeferredMagic, MAGIC_NO_VAR_EXPAND_ATTR, False):
        setattr(DeferredMagic, MAGIC_NO_VAR_EXPAND_ATTR, True)

    @cache
    def load_all() -> None:
        from .magics import register

        # Magics and panels know each other only here; ipywidgets are imported with the first panel.
        register(shell, lambda: importlib.import_module("nbdiffuse.panels"))

    for kind, names in (("cell", CELL_MAGICS), ("line", LINE_MAGICS)):
        for name in names:
            shell.register_magic_function(DeferredMagic(name, kind, shell, load_all), kind, name)
    _offer_completion(shell)


def _offer_completion(shell: InteractiveShell) -> None:
    try:
        from IPython.core.completer import SimpleCompletion, context_matcher
    except ImportError:
        _offer_completion_before_8_6(shell)
        return
    matchers: list[Any] = shell.Completer.custom_matchers
    if any(getattr(one, "__name__", "") == "complete_nbdiffuse" for one in matchers):
        return

    @context_matcher()
    def complete_nbdiffuse(context: CompletionContext) -> SimpleMatcherResult:
        if not context.full_text.startswith("%"):
            return {"completions": []}
        from .completion import words_for

        column = context.cursor_position
        words, token = words_for(context.full_text, (context.cursor_line, column), shell.user_ns)
        found = [SimpleCompletion(text=word, type="magic") for word in words]
        return {"completions": found, "matched_fragment": token, "suppress": bool(found)}

    matchers.append(complete_nbdiffuse)


def _offer_completion_before_8_6(shell: InteractiveShell) -> None:
    """Complete the line of a magic in older IPython, such as Colab's: it has no matchers, and shows a completer one line."""

    def complete(_: Any, event: Any) -> list[str]:
        from .completion import words_for

        return words_for(event.line, (0, len(event.line)), shell.user_ns)[0]

    for sign, names in (("%%", CELL_MAGICS), ("%", LINE_MAGICS)):
        for name in names:
            shell.set_hook("complete_command", complete, str_key=f"{sign}{name}")
