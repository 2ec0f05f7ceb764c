"""Models that stay in memory: pipelines, depth estimators, scorers."""
