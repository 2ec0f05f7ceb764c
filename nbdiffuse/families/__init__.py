"""Families: what diffusers, and a checkpoint's own files, say of how pictures are made; nothing is imported or loaded for it."""
