"""Devices: one worker each, its memory, and the optimizations of speed and memory."""
