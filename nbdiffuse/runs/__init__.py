"""Runs of many recipes: grids, chains and loopbacks."""
