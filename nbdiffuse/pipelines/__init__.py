"""Pipelines: the models that stay in memory between runs, the depth estimator and the scorers among them."""
