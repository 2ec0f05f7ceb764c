"""Cells: what a person types, as values, and back."""
