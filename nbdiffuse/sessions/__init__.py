"""Sessions: a worker, its pipelines, and the history of what was made, here or on other machines."""
