"""The program of a worker process: one thread that reads tries from its manager, runs them, and reports outcomes.

`process` sets the process up, `loop` reads and reports, `attempt` runs one try, `functions` keeps what was loaded,
`capture` makes sense of what tasks print, `interrupts` lets the manager in while user code runs.
"""
