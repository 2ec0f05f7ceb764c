"""Sessions: a worker, its pipelines, and everything that was made, here or on other machines."""
