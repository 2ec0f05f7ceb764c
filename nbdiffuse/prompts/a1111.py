"""The dialect of AUTOMATIC1111: `(word:1.3)`, `((word))`, `[word]`, `BREAK`."""

from __future__ import annotations

import re

from .weights import MAX_DEPTH, Fragment, Fragments, Source, Weighted, joined

ROUND = 1.1
"""What a round bracket multiplies by, and a square one divides by."""

_TOKEN = re.compile(
    r"(?P<escaped>\\[()\[\]\\])"
    r"|(?P<weight>:\s*(?P<number>[+-]?[\d.]+)\s*(?=\)))"
    r"|(?P<open>[(\[])|(?P<close>[)\]])"
    r"|(?P<network><(?:lora|lyco|hypernet):[^<>]*>)"
    r"|(?P<and>\bAND\b)|(?P<break>\s*\bBREAK\b\s*)"
    r"|(?P<text>\w+|\s+|.)",
    re.DOTALL,
)
_SCHEDULE = re.compile(r"(?<!\\)\||:\s*[\d.]+\s*\Z")
_LITERAL = "Write `\\(`, `\\)`, `\\[` or `\\]` for the sign itself."


def read(text: str, field: str = "prompt") -> Weighted:
    """Read a prompt in AUTOMATIC1111's dialect.

    Parameters
    ----------
    text
        `(x)` multiplies the weight of x by 1.1, `[x]` divides it by 1.1, `(x:1.3)`
        multiplies by 1.3; brackets in brackets multiply. `\\(`, `\\)`, `\\[`, `\\]`
        and `\\\\` stand for themselves. `BREAK` begins a new part.
    field
        What errors call it.

    Raises
    ------
    ParameterError
        A bracket is open, or closes none, where AUTOMATIC1111 would guess; a weight is
        out of bounds; or the text asks for more than weights: a schedule
        (`[from:to:when]`, `[a|b]`), `AND`, or a network (`<lora:name:1>`). The line
        names the character.

    Notes
    -----
    Source: AUTOMATIC1111 `modules/prompt_parser.py`, `parse_prompt_attention`.
    """
    return _Reader(Source(field, text)).whole()


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.parts: list[list[tuple[str, int]]] = [[]]
        """Texts and the bracket that each stands in, by index into `brackets`."""
        self.brackets: list[tuple[int, str, int]] = [(-1, "", -1)]
        """(index of the bracket around it, its sign, its place); the first stands for none."""
        self.factors: list[float] = [1.0]
        self.inside = 0

    def whole(self) -> Weighted:
        text = self.source.text
        for token in _TOKEN.finditer(text):
            at = token.start()
            if token["open"]:
                self._open(token[0], at)
            elif token["close"]:
                self._close(token[0], at)
            elif token["weight"] and self.inside and self.brackets[self.inside][1] == "(":
                self.factors[self.inside] = self._number(token["number"], at)
            elif token["break"]:
                self.parts.append([])
            else:
                self._refuse_more_than_weights(token)
                self.parts[-1].append((token[0][1:] if token["escaped"] else token[0], self.inside))
        if self.inside:
            raise self.source.refused("close every bracket", self.brackets[self.inside][2], _LITERAL)
        if len(self.parts) > 1 and not self.parts[-1]:
            self.parts.pop()
        weights = self._weights()
        parts = tuple(self._fragments(part, weights) for part in self.parts)
        return Weighted(parts, (1.0,) * len(parts))

    def _open(self, sign: str, at: int) -> None:
        around, depth = self.inside, 1
        while self.brackets[around][0] >= 0:
            around, depth = self.brackets[around][0], depth + 1
        if depth > MAX_DEPTH:
            raise self.source.refused(f"have at most {MAX_DEPTH} brackets in one another", at, "Take some out.")
        self.brackets.append((self.inside, sign, at))
        self.factors.append(ROUND if sign == "(" else 1 / ROUND)
        self.inside = len(self.brackets) - 1

    def _close(self, sign: str, at: int) -> None:
        around, opened, start = self.brackets[self.inside]
        if opened + sign not in ("()", "[]"):
            raise self.source.refused("close the brackets that it opens, in their order", at, _LITERAL)
        if sign == "]" and _SCHEDULE.search(self.source.text, start + 1, at):
            rule = "be without schedules such as `[from:to:when]` and `[a|b]`"
            raise self.source.refused(rule, start, "Write one of them.")
        self.inside = around

    def _number(self, text: str, at: int) -> float:
        try:
            return float(text)
        except ValueError:
            raise self.source.refused("have numbers as weights", at, "Write `(word:1.3)`.") from None

    def _refuse_more_than_weights(self, token: re.Match[str]) -> None:
        if token["and"]:
            rule = "be without `AND`, which denoises prompts each for itself"
            raise self.source.refused(rule, token.start(), "Write `BREAK`, or `and`.")
        if token["network"]:
            raise self.source.refused("be without networks", token.start(), "Take it out of the prompt.")

    def _weights(self) -> list[float]:
        """Return the weight in each bracket: what it and those around it multiply to."""
        weights = [1.0]
        for (around, _, at), factor in zip(self.brackets[1:], self.factors[1:], strict=True):
            weight = weights[around] * factor
            self.source.check_weight(weight, at)
            weights.append(weight)
        return weights

    def _fragments(self, part: list[tuple[str, int]], weights: list[float]) -> Fragments:
        made = joined((Fragment(text, weights[inside]) for text, inside in part), "")
        return made or (Fragment(""),)
