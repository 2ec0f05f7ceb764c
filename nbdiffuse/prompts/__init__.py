"""Prompts: dialects of weighting, alternatives, and what tokens look like to people."""
