"""The dialect of Compel: `jungle++`, `(two words)1.3`, `("a", "b").blend(.7, .3)`, `("a", "b").and()`.

It is read here and not by Compel's own parser, which takes four times as long for each
bracket that stands in another (10 s for six), drops what follows `.and()`, and takes
what it cannot read as plain words. What is accepted here means what it means there.
"""

from __future__ import annotations

import re
from bisect import bisect_left

from ..errors import ParameterError
from .weights import MAX_DEPTH, MAX_WEIGHT, Blend, Fragment, Fragments, Source, Weighted, joined

PLUS, MINUS = 1.1, 0.9
"""What each `+` and each `-` multiplies by."""

_SPACE = re.compile(r"\s*", re.ASCII)
_COMMA = re.compile(r",(\S)")
_WORD = re.compile(r'(?:\\[()",.+\-=]|[+\-](?![\s()",.+\-=]|\Z)|[0-9]+|[^\s()",.+\-=])+', re.ASCII)
_BLANKS = re.compile(r"\s+", re.ASCII)
_SIGNS_AT_END = re.compile(r"\w(\+{2,}|-{2,})$")
_QUOTED = re.compile(r'"((?:\\"|[^"\n\r])*)"')
_MARK = re.compile(r'(?<!\\)[()"]')
_NUMBER = r"\d+\.\d*|\.\d+|\d+"
_BEHIND_WORD = re.compile(r"\++|-+")
_BEHIND_GROUP = re.compile(rf"\++|-+|{_NUMBER}", re.ASCII)
_ATTEND = re.compile(rf"\.attend\(\s*(\++|-+|{_NUMBER})\s*\)", re.ASCII)
_METHOD = re.compile(r"\s*\.(attend|blend|and|add|swap)\s*\(")
_WHOLE = re.compile(r"\s*\.(blend|and|add)\s*\(([^()]*)\)\s*\Z")
_OPTION = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+)|-?\d+", re.ASCII)
_ESCAPED = re.compile(r'\\+([()"])')
_LITERAL = 'Write `\\(`, `\\)` or `\\"` for the sign itself.'
_PARTS = 'Write `("one part", "another").blend(.7, .3)` and nothing else.'


def read(text: str, field: str = "prompt") -> Weighted:
    """Read a prompt in Compel's dialect.

    Parameters
    ----------
    text
        `word+` and `word++` weigh 1.1 and 1.21, `word-` and `word--` 0.9 and 0.81;
        `(two words)1.3`, `"two words"1.3` and `(two words)++` weigh a group, and
        groups in groups multiply. `("a", "b").blend(.7, .3)` mixes prompts,
        `("a", "b").and()` puts them one after the other; both only as the whole
        prompt. Brackets without a weight are left out. `\\(`, `\\)` and `\\"` stand
        for themselves; there is no way to write a plain `+` behind a word.
    field
        What errors call it.

    Raises
    ------
    ParameterError
        A bracket or a quotation is open, a weight is out of bounds, or a method is
        unknown or not at its place; the line names the character.

    Notes
    -----
    Source: Compel `prompt_parser.py`.
    """
    return _Reader(Source(field, text)).whole() if text.strip() else Weighted.plain("")


class _StraySign(ParameterError):
    """A `+`, `-` or `=` stands alone in brackets or quotation marks."""


class _Reader:
    """Reads by position in the text, which has a blank after every comma, as in Compel."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = _COMMA.sub(r", \1", source.text)
        self._added = [found.start() + 1 + index for index, found in enumerate(_COMMA.finditer(source.text))]
        self._closing = self._pairs()

    def whole(self) -> Weighted:
        start = self._skip(0)
        if self.text[start] == "(":
            close = self._closing[start]
            method = _WHOLE.match(self.text, close + 1)
            if method:
                return self._mixed(start + 1, close, method)
        return Weighted((joined(self._open(0, len(self.text)), " "),), (1.0,))

    def _pairs(self) -> dict[int, int]:
        """Return where each bracket and each quotation closes."""
        closing: dict[int, int] = {}
        opened: list[int] = []
        quoted_until = -1
        for mark in _MARK.finditer(self.text):
            at = mark.start()
            if mark[0] == '"' and at > quoted_until:
                quoted = _QUOTED.match(self.text, at)
                if quoted is None:
                    raise self._refused("close every quotation on its line", at)
                closing[at] = quoted_until = quoted.end() - 1
            elif mark[0] == "(":
                opened.append(at)
                if len(opened) > MAX_DEPTH:
                    raise self._refused(f"have at most {MAX_DEPTH} brackets in one another", at, "Take some out.")
            elif mark[0] == ")":
                if not opened:
                    raise self._refused("open every bracket that it closes", at)
                closing[opened.pop()] = at
        if opened:
            raise self._refused("close every bracket", opened[-1])
        return closing

    def _open(self, start: int, end: int) -> list[Fragment]:
        """Read text outside of brackets: what is no weighting is a word up to the next blank."""
        fragments: list[Fragment] = []
        at = self._skip(start, end)
        while at < end:
            made, at = self._target(at, end, 1.0) or self._free_word(at, end)
            fragments += made
            at = self._skip(at, end)
        return fragments

    def _inside(self, start: int, end: int, scale: float) -> list[Fragment]:
        """Read text in brackets or quotation marks, where every sign of the dialect counts."""
        fragments: list[Fragment] = []
        at = self._skip(start, end)
        while at < end:
            made, at = self._target(at, end, scale) or self._word(at, end, scale)
            fragments += made
            at = self._skip(at, end)
        return fragments

    def _target(self, at: int, end: int, scale: float) -> tuple[list[Fragment], int] | None:
        """Read a group, or a word with a weight behind it; None where a word has none."""
        if self.text[at] in '("':
            close = self._closing.get(at, end)
            if close >= end:
                raise self._refused("close brackets and quotations in the order they open", at)
            factor, stop = self._weight(close + 1, end, _BEHIND_GROUP, scale)
            return self._group(at, close, scale * factor), stop
        word = _WORD.match(self.text, at, end)
        if word is None:
            return None
        factor, stop = self._weight(word.end(), end, _BEHIND_WORD, scale)
        return ([Fragment(_literal(word[0]), scale * factor)], stop) if stop > word.end() else None

    def _group(self, at: int, close: int, scale: float) -> list[Fragment]:
        if not self.text[at + 1 : close].strip():
            if self.text[at] == "(":
                raise self._refused("have words in every bracket", at, "Take it out.")
            return [Fragment("", scale)]
        return self._inside(at + 1, close, scale)

    def _weight(self, at: int, end: int, behind: re.Pattern[str], scale: float) -> tuple[float, int]:
        """Return the factor that stands behind a word or a group, 1 if there is none, and where it ends."""
        attend = _ATTEND.match(self.text, at, end)
        found = attend or behind.match(self.text, at, end)
        if found is None:
            self._refuse_method(at, end)
            return 1.0, at
        stop, mark = found.end(), attend[1] if attend else found[0]
        if attend is None and stop < end and (self.text[stop] in "+-_" or self.text[stop].isalnum()):
            raise self._refused("have one weight behind a word, and a blank behind that", at, "Write `word++` or `(words)1.3`.")
        base = {"+": PLUS, "-": MINUS}.get(mark[0])
        factor = float(mark) if base is None else base ** min(len(mark), 1000)
        self.source.check_weight(scale * factor, self._place(at))
        return factor, stop

    def _refuse_method(self, at: int, end: int) -> None:
        method = _METHOD.match(self.text, at, end)
        if method and method[1] == "attend":
            raise self._refused("have a weight in `.attend()`", at, "Write `word.attend(1.3)` or `(two words)1.3`.")
        if method and method[1] == "swap":
            raise self._refused("be without `.swap()`, which needs cross-attention control", at, "Take it out.")
        if method:
            raise self._refused(f"have `.{method[1]}()` around the whole of it", at, _PARTS)

    def _word(self, at: int, end: int, scale: float) -> tuple[list[Fragment], int]:
        word = _WORD.match(self.text, at, end)
        if word:
            return [Fragment(_literal(word[0]), scale)], word.end()
        if self.text[at] not in ",.":
            way_out = f"Take the `{self.text[at]}` out."
            raise _StraySign(str(self._refused("have words in brackets and quotations", at, way_out)))
        return [Fragment(self.text[at], scale)], at + 1

    def _free_word(self, at: int, end: int) -> tuple[list[Fragment], int]:
        stop = _BLANKS.search(self.text, at, end)
        after = stop.start() if stop else end
        word = self.text[at:after]
        mark = _MARK.search(self.text, at, after)
        if mark:
            raise self._refused("have a blank before a bracket or a quotation", mark.start())
        signs = _SIGNS_AT_END.search(word)
        if signs:
            raise self._refused("weigh words that have no `.` or `=` in them", at + signs.start(1), "Write `(these words)1.2`.")
        return [Fragment(_literal(word))], after

    def _mixed(self, start: int, end: int, method: re.Match[str]) -> Weighted:
        """Read the parts of `.blend()` or `.and()` and their weights."""
        name, parts = method[1], []
        at = start - 1
        while at < end:
            part, at = self._part(self._skip(at + 1, end), end, name)
            parts.append(part)
            at = self._skip(at, end)
            if at < end and self.text[at] != ",":
                raise self._refused(f"have every part of `.{name}()` in quotation marks", at, _PARTS)
        options = [option.strip() for option in method[2].split(",")] if method[2].strip() else []
        normalize = not (name == "blend" and options[-1:] == ["no_normalize"])
        weights = self._options(options if normalize else options[:-1], len(parts), method)
        if name != "blend":
            return Weighted(tuple(parts), weights)
        if normalize and abs(sum(weights)) < 1e-6:
            way_out = "Change one, or add `no_normalize` behind them."
            raise self._refused("have weights of `.blend()` whose sum is not 0", method.start(2), way_out)
        return Weighted((Blend(tuple(parts), weights, normalize),), (1.0,))

    def _part(self, at: int, end: int, name: str) -> tuple[Fragments, int]:
        if at < end and self.text[at] in '("':
            close = self._closing[at]
            try:
                fragments = self._group(at, close, 1.0)
            except _StraySign:
                if self.text[at] == "(":
                    raise
                # Compel, too, reads such a part as it would read it outside of quotation marks.
                fragments = self._open(at + 1, close)
            return joined(fragments, " "), close + 1
        word = _WORD.match(self.text, at, end)
        if word is None:
            raise self._refused(f"have every part of `.{name}()` in quotation marks", at, _PARTS)
        return (Fragment(_literal(word[0])),), word.end()

    def _options(self, options: list[str], count: int, method: re.Match[str]) -> tuple[float, ...]:
        name, at = method[1], method.start(2)
        if not all(_OPTION.fullmatch(option) and abs(float(option)) <= MAX_WEIGHT for option in options):
            rule = f"have numbers in [-{MAX_WEIGHT:g}, {MAX_WEIGHT:g}] in `.{name}()`"
            raise self._refused(rule, at, f"Write `.{name}(.7, .3)`.")
        if options and len(options) != count:
            rule = f"have as many weights in `.{name}()` as parts, {count}"
            raise self._refused(rule, at, f"Write `.{name}()` to weigh all the same.")
        return tuple(map(float, options)) or (1.0,) * count

    def _skip(self, at: int, end: int | None = None) -> int:
        found = _SPACE.match(self.text, at, len(self.text) if end is None else end)
        return found.end() if found else at

    def _place(self, at: int) -> int:
        return at - bisect_left(self._added, at)

    def _refused(self, rule: str, at: int, way_out: str = _LITERAL) -> ParameterError:
        return self.source.refused(rule, self._place(at), way_out)


def _literal(word: str) -> str:
    return _ESCAPED.sub(r"\1", word)
