"""Checkpoints: found, fetched, checked, and loaded as components."""
