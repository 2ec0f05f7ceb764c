"""Where a scene plays: each place paints sky, distance and ground, far to near."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from .canvas import Canvas, Color, Point
from .subjects import shade

HORIZON = 0.66


def _hill(c: Canvas, rng: Random, y: float, height: float, color: Color) -> None:
    phase, waves = rng.uniform(0, math.tau), rng.uniform(0.6, 1.3)
    steps = [index / 24 for index in range(25)]
    ridge: list[Point] = [(x, y - height * (0.5 + 0.5 * math.sin(phase + math.tau * waves * x))) for x in steps]
    c.polygon([*ridge, (1.0, 1.0), (0.0, 1.0)], color)


def _jungle(c: Canvas, rng: Random) -> None:
    c.part = "plants"
    c.gradient(0, HORIZON, (44, 122, 82), (126, 186, 98))
    c.depth = 60
    for _ in range(3):
        x, width = rng.uniform(0, 1), rng.uniform(0.03, 0.05)
        c.box(x, 0, x + width, HORIZON + 0.04, (46, 88, 56))
    c.depth, c.part = 80, "ground"
    c.gradient(HORIZON, 1, (52, 116, 50), (22, 70, 36), near=190)
    c.depth, c.part = 110, "plants"
    for side in (rng.uniform(0.02, 0.14), rng.uniform(0.80, 0.92)):
        c.box(side, 0, side + 0.08, 0.76, (86, 60, 40))
        c.box(side + 0.05, 0, side + 0.08, 0.76, (64, 44, 32))
    for index in range(6):
        x, y = index / 5 + rng.uniform(-0.08, 0.08), rng.uniform(0.0, 0.12)
        c.ellipse(x, y, rng.uniform(0.10, 0.16), rng.uniform(0.07, 0.11), rng.choice([(30, 104, 48), (48, 136, 56)]))
    c.depth = 150
    for index in range(5):
        x, y = index / 4 + rng.uniform(-0.08, 0.08), rng.uniform(0.80, 0.90)
        green: Color = rng.choice([(64, 156, 62), (40, 124, 56)])
        for lean in (-0.10, 0.0, 0.10):
            c.polygon([(x - 0.025, y), (x + 0.025, y), (x + lean, y - 0.15)], green)


def _desert(c: Canvas, rng: Random) -> None:
    c.part = "sky"
    c.gradient(0, HORIZON, (244, 176, 96), (252, 226, 168))
    c.part = "sun"
    c.ellipse(rng.uniform(0.12, 0.88), rng.uniform(0.12, 0.26), 0.085, 0.085, (255, 246, 206))
    c.depth, c.part = 50, "ground"
    _hill(c, rng, HORIZON, 0.14, (226, 164, 96))
    c.depth = 90
    _hill(c, rng, 0.78, 0.12, (214, 140, 68))
    c.depth, c.part = 110, "cactus"
    x = rng.choice([rng.uniform(0.06, 0.20), rng.uniform(0.80, 0.94)])
    for points in (
        [(x, 0.84), (x, 0.56)],
        [(x, 0.72), (x - 0.06, 0.72), (x - 0.06, 0.63)],
        [(x, 0.77), (x + 0.06, 0.77), (x + 0.06, 0.68)],
    ):
        c.line(points, 0.035, (84, 128, 62))
    c.depth, c.part = 150, "ground"
    _hill(c, rng, 0.96, 0.08, (196, 118, 54))


def _snow(c: Canvas, rng: Random) -> None:
    c.part = "sky"
    c.gradient(0, HORIZON + 0.06, (150, 186, 220), (226, 236, 246))
    c.depth, c.part = 60, "ground"
    _hill(c, rng, HORIZON + 0.04, 0.10, (202, 218, 236))
    c.depth, c.part = 90, "trees"
    for side in (rng.uniform(0.02, 0.20), rng.uniform(0.80, 0.98)):
        height = rng.uniform(0.34, 0.46)
        for step in range(3):
            top, half = 0.72 - height + step * 0.11, 0.06 + step * 0.025
            c.polygon([(side - half, top + 0.16), (side + half, top + 0.16), (side, top)], (52, 104, 92))
            c.polygon([(side - half * 0.45, top + 0.07), (side + half * 0.45, top + 0.07), (side, top)], (246, 250, 255))
    c.depth, c.part = 100, "ground"
    c.gradient(0.72, 1, (238, 244, 252), (206, 220, 238), near=190)
    flakes = [(rng.uniform(0, 1), rng.uniform(0, 0.7)) for _ in range(12)]
    for x, y in flakes if c.layer == "image" else ():
        c.ellipse(x, y, 0.013, 0.013, (252, 254, 255))


def _night(c: Canvas, rng: Random) -> None:
    c.part = "sky"
    c.gradient(0, 0.74, (12, 16, 46), (50, 58, 112))
    stars = [(rng.uniform(0, 1), rng.uniform(0, 0.55), rng.uniform(0.007, 0.013)) for _ in range(14)]
    for x, y, radius in stars if c.layer == "image" else ():
        c.ellipse(x, y, radius, radius, (240, 240, 214))
    c.part = "moon"
    x, y = rng.uniform(0.12, 0.88), rng.uniform(0.12, 0.24)
    c.ellipse(x, y, 0.10, 0.10, (246, 240, 204))
    c.ellipse(x + 0.025, y - 0.02, 0.03, 0.03, (222, 212, 172))
    c.ellipse(x - 0.035, y + 0.035, 0.022, 0.022, (222, 212, 172))
    c.depth, c.part = 60, "ground"
    _hill(c, rng, 0.72, 0.14, (34, 42, 84))
    c.depth = 110
    _hill(c, rng, 0.84, 0.08, (20, 28, 56))


def _city(c: Canvas, rng: Random) -> None:
    c.part = "sky"
    c.gradient(0, 0.78, (124, 176, 226), (222, 226, 226))
    x = -rng.uniform(0, 0.06)
    c.depth, c.part = 70, "buildings"
    while x < 1:
        width, height = rng.uniform(0.13, 0.18), rng.uniform(0.30, 0.62)
        wall: Color = rng.choice([(94, 102, 122), (120, 108, 108), (76, 92, 118), (138, 126, 116)])
        top = 0.76 - height
        c.box(x, top, x + width, 0.78, wall)
        c.box(x + width * 0.8, top, x + width, 0.78, shade(wall, 0.8))
        for row in range(int(height / 0.09) - 1):
            for column in range(2):
                left, up = x + width * (0.14 + 0.33 * column), top + 0.035 + row * 0.09
                c.box(left, up, left + width * 0.20, up + 0.045, (248, 218, 128))
        x += width + rng.uniform(0.0, 0.02)
    c.depth, c.part = 100, "ground"
    c.gradient(0.78, 1, (98, 98, 106), (66, 66, 74), near=190)
    c.box(0, 0.77, 1, 0.80, (168, 164, 158))
    for index in range(4):
        c.box(index * 0.28 + 0.04, 0.90, index * 0.28 + 0.16, 0.925, (232, 220, 160))


def _ocean(c: Canvas, rng: Random) -> None:
    c.part = "sky"
    c.gradient(0, 0.50, (110, 190, 234), (206, 236, 246))
    c.part = "clouds"
    for _ in range(2):
        x, y = rng.uniform(0.1, 0.9), rng.uniform(0.08, 0.26)
        for shift, radius in ((-0.08, 0.045), (0.0, 0.065), (0.08, 0.045)):
            c.ellipse(x + shift, y, radius * 1.3, radius, (248, 250, 252))
    c.depth, c.part = 40, "water"
    c.gradient(0.48, 0.90, (22, 100, 168), (62, 176, 196), near=110)
    c.depth, c.part = 70, "boat"
    x = rng.choice([rng.uniform(0.08, 0.22), rng.uniform(0.78, 0.92)])
    c.polygon([(x - 0.08, 0.50), (x + 0.08, 0.50), (x + 0.05, 0.545), (x - 0.05, 0.545)], (142, 74, 50))
    c.polygon([(x, 0.49), (x, 0.33), (x + 0.075, 0.49)], (250, 246, 236))
    c.part = "water"
    for _ in range(6):
        x, y = rng.uniform(0, 0.9), rng.uniform(0.57, 0.76)
        c.line([(x, y), (x + 0.05, y - 0.012), (x + 0.10, y)], 0.013, (176, 226, 234))
    c.depth, c.part = 130, "ground"
    _hill(c, rng, 0.87, 0.05, (238, 214, 160))


def _mountains(c: Canvas, rng: Random) -> None:
    c.part = "sky"
    c.gradient(0, 0.80, (132, 164, 214), (236, 216, 214))
    c.part = "mountains"
    peaks = [(rng.uniform(0.05, 0.3), 0.30), (rng.uniform(0.7, 0.95), 0.26), (rng.uniform(0.35, 0.65), 0.14)]
    for depth, (x, top) in zip((45, 55, 70), peaks, strict=True):
        c.depth = depth
        top += rng.uniform(-0.04, 0.06)
        base, half = 0.72, 0.72 - top
        rock: Color = (112, 102, 138)
        c.polygon([(x - half * 0.75, base), (x + half * 0.75, base), (x, top)], rock)
        c.polygon([(x, top), (x + half * 0.75, base), (x + half * 0.1, base)], shade(rock, 0.78))
        c.polygon(
            [(x - half * 0.23, top + half * 0.31), (x, top), (x + half * 0.23, top + half * 0.31), (x, top + half * 0.22)],
            (248, 248, 252),
        )
    c.depth, c.part = 90, "ground"
    _hill(c, rng, 0.78, 0.08, (118, 156, 92))
    c.depth = 140
    _hill(c, rng, 0.90, 0.07, (90, 136, 72))


PLACES: dict[str, Callable[[Canvas, Random], None]] = {
    "jungle": _jungle,
    "desert": _desert,
    "snow": _snow,
    "night": _night,
    "city": _city,
    "ocean": _ocean,
    "mountains": _mountains,
}
"""Painter of each place, by name."""
