"""History of a panel: its past results."""
