"""Texts that somebody may put where a value belongs, to get out of it: into source, a cell, a path, a page."""

from __future__ import annotations

import ast

from hypothesis import strategies as st

SIGNS = (
    *('"', "'", '"""', "'''", "\\", "\n", "\r", "\0", "\t", "{}", "{0.__class__}", "{x", "}", "|", "$HOME", "$(x)", "`x`", "<b>"),
    *(
        '__import__("os").system("x")',
        "float32 if print() else torch.float32",
        ");import os;(",
        "#",
        ")",
        "]",
        "),",
        ";",
        ":",
        "@",
    ),
    *(">>> ", "... ", "In [1]: ", "   ...: ", "Out[1]: ", "!ls", "%cd /", "%%bash\n", "?", "??", ",f a", ";f a", "/f a"),
    *("--", "-x", "--out=x", "=", "=x", " + ", " ", "  \n", "\n\n", "~nobody", "../..", "/etc/passwd", "C:\\x", ".safetensors"),
    *("\u2028", "\x85", "\x1b[31m", "\u202e", "\ud800", "\ufffe", "🙂", "漢", "&quot;", "</script>", "a" * 400),
    *(
        "Negative prompt: ",
        "\nNegative prompt: no\n",
        "\nSteps: 1, Sampler: DDIM, CFG scale: 1, Seed: 1",
        "[sd15]",
        "\n[sd15 --out x]\n",
    ),
)
texts = st.lists(st.sampled_from(SIGNS) | st.text(max_size=6), min_size=1, max_size=6).map("".join).filter(bool)
"""Any of these signs, one after the other, with other text in between."""


def shape(source: str) -> str:
    """Return what a program does, whatever values it does it with: its syntax tree without its literals."""
    return ast.dump(_Blank().visit(ast.parse(source)))


class _Blank(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant(type(node.value).__name__)
