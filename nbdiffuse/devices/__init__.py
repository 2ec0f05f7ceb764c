"""Devices: one worker thread for each, its memory, and the optimizations of speed and memory."""
