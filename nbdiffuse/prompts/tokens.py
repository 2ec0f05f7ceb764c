"""Prompts as tokens, for people: weights, chunk borders, and what is cut."""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Token:
    """One token.

    Parameters
    ----------
    text
        As a person reads it.
    weight
        In [0, 100].
    ends_word
        Whether a blank follows it.
    """

    text: str
    weight: float = 1.0
    ends_word: bool = True


@dataclass(frozen=True)
class EncoderTokens:
    """A run of tokens that one text encoder sees for itself.

    Parameters
    ----------
    field
        Recipe field of the text.
    encoder
        Which text encoder, where there are several; else empty.
    part
        Which part of the prompt, where it has several; else empty.
    room
        Tokens that fit a chunk, without its begin and end.
    chunks
        The tokens of each chunk.
    lost
        Tokens that are not seen.
    """

    field: str
    encoder: str
    part: str
    room: int
    chunks: tuple[tuple[Token, ...], ...]
    lost: tuple[Token, ...] = ()

    @property
    def heading(self) -> str:
        """What it is and how long."""
        count = sum(map(len, self.chunks)) + len(self.lost)
        size = f"{count} of {self.room} tokens" if len(self.chunks) == 1 else f"{count} tokens in {len(self.chunks)} chunks"
        return ", ".join(part for part in (self.field, self.encoder, self.part, size) if part)


@dataclass(frozen=True)
class TokenView:
    """How the prompts of a recipe are taken apart; shows itself as text and as HTML.

    Parameters
    ----------
    weighting
        Dialect that the prompts were read in.
    encoder_tokens
        The prompt's, then the negative prompt's; for each text encoder.
    hints
        Lines a person should read.
    """

    weighting: str
    encoder_tokens: tuple[EncoderTokens, ...]
    hints: tuple[str, ...] = ()

    def _shown(self) -> Iterator[EncoderTokens]:
        """Yield what each text encoder sees; two text encoders that see the same are one."""
        for _, group in itertools.groupby(self.encoder_tokens, key=lambda tokens: tokens.field):
            held = list(group)
            encoders = list(dict.fromkeys(tokens.encoder for tokens in held))
            seen = [tuple((s.part, s.chunks, s.lost) for s in held if s.encoder == encoder) for encoder in encoders]
            if len(encoders) > 1 and len(set(seen)) == 1:
                both = "both text encoders"
                held = [EncoderTokens(s.field, both, s.part, s.room, s.chunks, s.lost) for s in held if s.encoder == encoders[0]]
            yield from held

    def __repr__(self) -> str:
        lines = [f"weighting {self.weighting}"]
        for tokens in self._shown():
            lines.append(tokens.heading)
            several = len(tokens.chunks) > 1
            for number, chunk in enumerate(tokens.chunks, start=1):
                words = _words(chunk) or "(empty)"
                lines.append(f"  chunk {number}: {words}" if several else f"  {words}")
            if tokens.lost:
                lines.append(f"  not seen: {_words(tokens.lost)}")
        return "\n".join([*lines, *self.hints])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/plain": repr(self), "text/html": self.to_html()}

    def to_html(self) -> str:
        """Return HTML without scripts, in the colours of the page it stands in."""
        rows = "".join(
            f'<div style="margin:.6em 0 .2em;opacity:.7">{_text(tokens.heading)}</div>{_encoder_html(tokens)}'
            for tokens in self._shown()
        )
        hints = "".join(f'<div style="margin-top:.6em">{_text(hint)}</div>' for hint in self.hints)
        return f'<div style="line-height:1.9;max-width:60em"><div>weighting {_text(self.weighting)}</div>{rows}{hints}</div>'


def _words(tokens: tuple[Token, ...]) -> str:
    """Write tokens as words: `·` inside a word, and behind a run of words of one weight `×1.21`."""
    runs = []
    for weight, run in itertools.groupby(tokens, key=lambda token: token.weight):
        text = "".join(token.text + (" " if token.ends_word else "·") for token in run)[:-1]
        runs.append(text if weight == 1 else f"[{text}]×{weight:g}")
    return " ".join(runs)


_FRAME = (
    "display:inline-block;max-width:100%;overflow-wrap:anywhere;line-height:1.5;margin-bottom:2px;"
    "border:1px solid rgba(128,128,128,.45);border-radius:3px;padding:0 .25em;"
)
_NOTE = "opacity:.6;margin-right:.5em;white-space:nowrap"


def _encoder_html(tokens: EncoderTokens) -> str:
    several = len(tokens.chunks) > 1
    pieces = []
    for number, chunk in enumerate(tokens.chunks, start=1):
        border = f'<span style="{_NOTE}">chunk {number}</span>' if several else ""
        pieces.append(f"<div>{border}{_tokens_html(chunk)}</div>")
    if tokens.lost:
        note = f'<span style="{_NOTE}">not seen</span>'
        pieces.append(f'<div>{note}<s style="opacity:.55">{_tokens_html(tokens.lost)}</s></div>')
    return "".join(pieces)


def _tokens_html(tokens: tuple[Token, ...]) -> str:
    return "".join(map(_token_html, tokens)) or '<span style="opacity:.6">empty</span>'


def _token_html(token: Token) -> str:
    # Tints that read on white and on black: blue pulls harder, orange less.
    strength = min(0.45, 0.12 + abs(token.weight - 1) * 0.4)
    tint = "" if token.weight == 1 else f"background:rgba({'40,120,230' if token.weight > 1 else '230,140,30'},{strength:.2f});"
    weight = "" if token.weight == 1 else f'<sub style="opacity:.8;margin-left:.2em;line-height:1">{token.weight:g}</sub>'
    gap = "margin-right:.35em" if token.ends_word else "margin-right:1px"
    return f'<span style="{_FRAME}{tint}{gap}">{_text(token.text)}{weight}</span>'


def _text(text: str) -> str:
    return html.escape(text.replace("\0", "\N{REPLACEMENT CHARACTER}").replace("\r", "\n"), quote=True)
