"""Recipes: everything that a run depends on, as frozen values; no model is loaded here."""
