"""Runtime of a panel: its callback thread, its events, one run at a time, and the parts that the browser draws."""
