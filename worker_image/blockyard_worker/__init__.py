"""What runs in a pod: one manager that talks to the interchange, and the workers that run tasks.

`core` decides and does no I/O, `shell` carries out what it decides, `worker` is the program of the child processes.
Between manager and worker stand `pipe` (messages), `tokens` (who may start which try), and `page` (what runs now).
``docs/worker.md`` tells how the parts fit, and what is and is not protected.
"""
