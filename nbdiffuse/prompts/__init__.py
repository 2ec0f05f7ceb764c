"""Prompts: the dialects of weighting, alternatives, and the tokens that a text encoder gets."""
