"""What Tab offers on a magic's line."""

from __future__ import annotations

import glob

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from ..cells.options import completions
from ..embedded.examples import EXAMPLES, MARK
from ..recipes.preset import TASKS


@context_matcher()
def complete_line(context: CompletionContext) -> SimpleMatcherResult:
    """Complete options, their choices, picture files and the package's own pictures on a magic's line."""
    nothing: SimpleMatcherResult = {"completions": []}
    before = context.line_with_cursor[: context.cursor_position]
    task = next((name for name in TASKS if before.startswith(f"%%{name} ")), None)
    if task is None or context.cursor_line != 0:
        return nothing
    words = completions(task, before)
    token = before.split(" ")[-1]
    if words is None:
        suffixes = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
        words = [name for name in sorted(glob.glob(glob.escape(token) + "*")) if name.lower().endswith(suffixes)]
        words += [name for name in map(MARK.__add__, EXAMPLES) if name.startswith(token)]
    found = [SimpleCompletion(text=word, type="magic") for word in words]
    return {"completions": found, "matched_fragment": token, "suppress": bool(found)}
