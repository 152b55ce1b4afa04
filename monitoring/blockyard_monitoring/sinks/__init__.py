"""Sinks: where messages go from the bus. Each knows nothing of the others; `port` says what one looks like."""
