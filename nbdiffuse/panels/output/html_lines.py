"""Lines of HTML in a panel, in which every text is escaped."""

from __future__ import annotations

import base64
import html
from pathlib import Path


def safe(text: str) -> str:
    """Return text as HTML; the home directory stands as "~", since a notebook may keep what a widget shows."""
    home = str(Path.home())
    shown = text.replace(home, "~") if len(home) > 1 else text
    return html.escape(shown)


def note(text: str) -> str:
    """Return a line beside a control."""
    return f'<span class="nbd-note">{safe(text)}</span>'


def status(text: str, failed: bool = False) -> str:
    """Return a line that screen readers speak when it changes."""
    kind = "alert" if failed else "status"
    return f'<div class="nbd-{kind}" role="{kind}" aria-live="polite">{safe(text)}</div>'


def field_error(text: str) -> str:
    """Return a line below a control whose value is wrong."""
    return f'<div class="nbd-field-error">{safe(text)}</div>'


def notices(lines: list[str]) -> str:
    """Return several lines, one below the other."""
    return "".join(f'<div class="nbd-note">{safe(line)}</div>' for line in lines)


def image(content: bytes, alt: str, width: str = "auto") -> str:
    """Return HTML that shows a PNG, JPEG or WebP; empty for no content."""
    if not content:
        return ""
    kind = {b"\x89PNG": "png", b"RIFF": "webp"}.get(content[:4], "jpeg")
    data = base64.b64encode(content).decode()
    return f'<img src="data:image/{kind};base64,{data}" alt="{safe(alt)}" style="display:block;max-width:100%;width:{width}">'


def figure(content: bytes, caption: str) -> str:
    """Return HTML that shows a picture with its caption below, line by line."""
    said = "<br>".join(safe(line) for line in caption.splitlines())
    return f"<figure>{image(content, caption.partition(chr(10))[0], '100%')}<figcaption>{said}</figcaption></figure>"
