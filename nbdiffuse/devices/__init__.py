"""Devices: one worker each, its memory, and the levers of speed and memory."""
