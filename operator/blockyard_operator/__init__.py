"""The operator: custom resources to blocks to pods, and back to status.

`resources` says what a `WorkerPool` and a `WorkerBlock` are, `core` decides, the other modules watch, ask and act.
"""
