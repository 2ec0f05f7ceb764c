"""Runs: grids, chains and loopbacks, and results that are made again."""
