"""Inputs of a panel: controls for a recipe's fields, its pictures, a chain's steps and a sweep's axes."""
