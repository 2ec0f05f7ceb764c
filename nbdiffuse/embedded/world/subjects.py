"""What stands in a scene: each subject is drawn about one unit high above the origin."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from .canvas import Canvas, Color

WHITE, BLACK, NIGHT = (245, 246, 250), (28, 28, 36), (30, 42, 72)


def shade(color: Color, factor: float) -> Color:
    """Darken (`factor` < 1) or lighten (> 1) a colour."""
    red, green, blue = (min(255, round(channel * factor)) for channel in color)
    return red, green, blue


def _astronaut(c: Canvas, rng: Random) -> None:
    suit: Color = rng.choice([(236, 238, 244), (226, 230, 240), (240, 226, 206)])
    accent: Color = rng.choice([(226, 88, 62), (52, 120, 212), (240, 164, 48)])
    dark = shade(suit, 0.78)
    c.box(-0.27, 0.30, 0.27, 0.68, shade(suit, 0.62), 0.08)
    for side in (-1, 1):
        c.box(side * 0.03, 0.04, side * 0.19, 0.36, suit, 0.05)
        c.box(side * 0.02, 0.0, side * 0.22, 0.10, dark, 0.04)
        c.line([(side * 0.20, 0.58), (side * 0.34, 0.46), (side * 0.36, 0.34)], 0.13, dark)
        c.ellipse(side * 0.36, 0.32, 0.075, 0.075, accent)
    c.box(-0.22, 0.28, 0.22, 0.66, suit, 0.10)
    c.box(-0.12, 0.40, 0.12, 0.54, shade(suit, 0.7), 0.03)
    c.ellipse(-0.05, 0.47, 0.035, 0.035, accent)
    c.ellipse(0.05, 0.47, 0.035, 0.035, (88, 190, 120))
    c.ellipse(0, 0.80, 0.25, 0.23, suit)
    c.ellipse(0.02, 0.79, 0.19, 0.16, NIGHT)
    c.ellipse(0.09, 0.84, 0.06, 0.05, (150, 190, 232))


def _cat_head(c: Canvas, y: float, fur: Color) -> None:
    for side in (-1, 1):
        c.polygon([(side * 0.26, y), (side * 0.22, y + 0.32), (side * 0.03, y + 0.17)], fur)
        c.polygon([(side * 0.21, y + 0.09), (side * 0.195, y + 0.23), (side * 0.10, y + 0.16)], (232, 160, 160))
    c.ellipse(0, y, 0.27, 0.22, fur)
    c.ellipse(0, y - 0.09, 0.14, 0.10, shade(fur, 1.35))
    for side in (-1, 1):
        c.ellipse(side * 0.115, y + 0.03, 0.068, 0.075, (196, 226, 96))
        c.ellipse(side * 0.105, y + 0.03, 0.032, 0.062, BLACK)
    c.polygon([(-0.04, y - 0.05), (0.04, y - 0.05), (0, y - 0.10)], (222, 110, 120))


FURS: list[Color] = [(226, 140, 62), (124, 126, 136), (62, 58, 66), (226, 204, 166), (150, 104, 72)]


def _cat(c: Canvas, rng: Random) -> None:
    fur = rng.choice(FURS)
    c.line([(0.16, 0.08), (0.40, 0.12), (0.46, 0.32), (0.38, 0.46)], 0.11, shade(fur, 0.82))
    c.ellipse(0.38, 0.46, 0.055, 0.055, shade(fur, 0.82))
    c.ellipse(0, 0.26, 0.28, 0.27, fur)
    c.ellipse(0, 0.24, 0.14, 0.19, shade(fur, 1.3))
    for side in (-1, 1):
        c.box(side * 0.05, 0.0, side * 0.18, 0.28, shade(fur, 0.9), 0.06)
    _cat_head(c, 0.66, fur)


def _cat_wizard(c: Canvas, rng: Random) -> None:
    fur = rng.choice(FURS)
    robe: Color = rng.choice([(86, 62, 160), (48, 84, 172), (118, 44, 120)])
    star: Color = (250, 214, 92)
    c.line([(0.36, 0.0), (0.36, 0.80)], 0.045, (122, 82, 48))
    c.ellipse(0.36, 0.82, 0.075, 0.075, (130, 226, 232))
    c.polygon([(-0.34, 0), (0.30, 0), (0.17, 0.46), (-0.19, 0.46)], robe)
    c.polygon([(-0.08, 0), (0.06, 0), (0.03, 0.40), (-0.04, 0.40)], shade(robe, 0.7))
    c.line([(0.14, 0.36), (0.36, 0.34)], 0.12, shade(robe, 1.15))
    c.ellipse(0.36, 0.34, 0.055, 0.055, fur)
    _cat_head(c, 0.54, fur)
    c.polygon([(-0.09, 0.46), (0.09, 0.46), (0, 0.16)], WHITE)
    c.polygon([(-0.22, 0.70), (0.22, 0.70), (0.10, 1.12)], robe)
    c.ellipse(0, 0.70, 0.34, 0.06, shade(robe, 0.8))
    c.ellipse(0.02, 0.84, 0.05, 0.05, star)


def _robot(c: Canvas, rng: Random) -> None:
    metal: Color = rng.choice([(150, 160, 172), (108, 148, 172), (186, 150, 96)])
    light: Color = rng.choice([(96, 232, 120), (88, 214, 240), (250, 206, 80)])
    dark = shade(metal, 0.66)
    for side in (-1, 1):
        c.box(side * 0.06, 0.0, side * 0.18, 0.22, dark, 0.02)
        c.box(side * 0.03, 0.0, side * 0.22, 0.07, shade(metal, 0.5), 0.02)
        c.box(side * 0.27, 0.24, side * 0.38, 0.56, dark, 0.04)
        c.ellipse(side * 0.325, 0.22, 0.07, 0.07, shade(metal, 0.5))
    c.box(-0.26, 0.20, 0.26, 0.60, metal, 0.04)
    c.box(-0.15, 0.30, 0.15, 0.50, shade(metal, 0.42), 0.02)
    c.box(-0.11, 0.34, 0.11, 0.46, light, 0.02)
    c.box(-0.08, 0.58, 0.08, 0.66, dark)
    c.box(-0.22, 0.64, 0.22, 0.92, shade(metal, 1.12), 0.05)
    for side in (-1, 1):
        c.ellipse(side * 0.10, 0.80, 0.065, 0.065, BLACK)
        c.ellipse(side * 0.10, 0.80, 0.042, 0.042, light)
    c.box(-0.11, 0.68, 0.11, 0.72, dark)
    c.line([(0, 0.92), (0, 1.02)], 0.03, dark)
    c.ellipse(0, 1.04, 0.05, 0.05, (232, 68, 60))


def _rocket(c: Canvas, rng: Random) -> None:
    hull: Color = rng.choice([(236, 238, 244), (212, 222, 236), (240, 226, 200)])
    accent: Color = rng.choice([(214, 52, 56), (42, 98, 200), (232, 124, 40)])
    c.polygon([(-0.11, 0.16), (0.11, 0.16), (0, -0.14)], (250, 176, 52))
    c.polygon([(-0.06, 0.16), (0.06, 0.16), (0, -0.02)], (252, 232, 140))
    for side in (-1, 1):
        c.polygon([(side * 0.14, 0.44), (side * 0.34, 0.10), (side * 0.14, 0.18)], accent)
    c.polygon([(-0.17, 0.16), (0.17, 0.16), (0.19, 0.50), (0.14, 0.76), (-0.14, 0.76), (-0.19, 0.50)], hull)
    c.polygon([(0.05, 0.16), (0.17, 0.16), (0.19, 0.50), (0.14, 0.76), (0.05, 0.76)], shade(hull, 0.84))
    c.polygon([(-0.145, 0.75), (0.145, 0.75), (0, 1.10)], accent)
    c.box(-0.18, 0.20, 0.18, 0.27, accent)
    c.ellipse(0, 0.56, 0.105, 0.105, shade(accent, 0.7))
    c.ellipse(0, 0.56, 0.072, 0.072, (140, 208, 240))


def _house(c: Canvas, rng: Random) -> None:
    wall: Color = rng.choice([(240, 224, 190), (226, 196, 168), (206, 218, 226)])
    roof: Color = rng.choice([(184, 62, 50), (128, 74, 50), (70, 86, 124)])
    c.box(0.20, 0.60, 0.32, 0.94, shade(roof, 0.7))
    c.box(-0.40, 0.0, 0.40, 0.52, wall)
    c.box(0.22, 0.0, 0.40, 0.52, shade(wall, 0.86))
    c.polygon([(-0.50, 0.48), (0.50, 0.48), (0, 0.96)], roof)
    c.polygon([(0.0, 0.96), (0.50, 0.48), (0.26, 0.48)], shade(roof, 0.82))
    c.box(-0.09, 0.0, 0.09, 0.30, (104, 66, 42))
    c.ellipse(0.05, 0.15, 0.02, 0.02, (240, 206, 90))
    for x in (-0.25, 0.25):
        c.box(x - 0.09, 0.20, x + 0.09, 0.38, WHITE)
        c.box(x - 0.07, 0.22, x + 0.07, 0.36, (124, 186, 224))
    c.ellipse(0, 0.64, 0.075, 0.075, (250, 226, 140))


def _tree(c: Canvas, rng: Random) -> None:
    leaf: Color = rng.choice([(72, 150, 62), (52, 128, 76), (118, 156, 52), (206, 120, 48)])
    trunk: Color = (116, 78, 50)
    c.polygon([(-0.09, 0), (0.09, 0), (0.055, 0.50), (-0.055, 0.50)], trunk)
    c.polygon([(0.01, 0), (0.09, 0), (0.055, 0.50), (0.01, 0.50)], shade(trunk, 0.8))
    c.line([(0.0, 0.32), (0.18, 0.50)], 0.05, trunk)
    for x, y, r in ((-0.20, 0.56, 0.20), (0.21, 0.56, 0.19), (0.0, 0.60, 0.27)):
        c.ellipse(x, y, r, r * 0.9, shade(leaf, 0.82))
    for x, y, r in ((-0.16, 0.66, 0.19), (0.15, 0.68, 0.18), (0.0, 0.80, 0.21)):
        c.ellipse(x, y, r, r * 0.9, leaf)
    c.ellipse(-0.06, 0.86, 0.09, 0.07, shade(leaf, 1.22))


def _penguin(c: Canvas, rng: Random) -> None:
    coat: Color = rng.choice([(40, 44, 58), (52, 66, 96), (66, 54, 58)])
    scarf: Color = rng.choice([(220, 58, 60), (56, 148, 92), (236, 176, 52)])
    orange: Color = (244, 156, 48)
    for side in (-1, 1):
        c.ellipse(side * 0.13, 0.04, 0.12, 0.05, orange)
        c.polygon([(side * 0.24, 0.62), (side * 0.42, 0.26), (side * 0.28, 0.24)], shade(coat, 0.8))
    c.ellipse(0, 0.40, 0.31, 0.38, coat)
    c.ellipse(0, 0.35, 0.22, 0.30, WHITE)
    c.ellipse(0, 0.82, 0.23, 0.20, coat)
    for side in (-1, 1):
        c.ellipse(side * 0.085, 0.80, 0.095, 0.11, WHITE)
        c.ellipse(side * 0.075, 0.83, 0.035, 0.04, BLACK)
    c.polygon([(-0.07, 0.76), (0.07, 0.76), (0, 0.68)], orange)
    c.box(-0.23, 0.60, 0.23, 0.68, scarf, 0.03)
    c.box(0.09, 0.40, 0.19, 0.64, shade(scarf, 0.85), 0.02)


SUBJECTS: dict[str, Callable[[Canvas, Random], None]] = {
    "astronaut": _astronaut,
    "cat": _cat,
    "cat wizard": _cat_wizard,
    "robot": _robot,
    "rocket": _rocket,
    "house": _house,
    "tree": _tree,
    "penguin": _penguin,
}
"""Painter of each subject, by name."""
