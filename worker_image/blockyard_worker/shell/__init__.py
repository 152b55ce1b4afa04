"""Carries out what the core decides: sockets, processes, signals, /proc. `loop` is the manager's life on one screen."""
