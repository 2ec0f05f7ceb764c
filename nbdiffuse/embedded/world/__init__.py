"""The procedural world that the embedded checkpoints were trained on.

A scene is one subject in one place under one palette, drawn from shapes: its
picture, depth and mask are exact at any size, and its caption uses the words
of the diffusers image-to-image guide.
"""

from .scene import PALETTES, PARTS, PLACES, STYLES, SUBJECTS, Scene, sample

__all__ = ["PALETTES", "PARTS", "PLACES", "STYLES", "SUBJECTS", "Scene", "sample"]
