"""Sweeps: a recipe or a chain along named axes, as a value."""
