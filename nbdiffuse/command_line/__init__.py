"""Command line: the cells of a notebook without one, for nights, schedules and other programs."""
