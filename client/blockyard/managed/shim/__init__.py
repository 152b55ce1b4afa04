"""The folder of `blockyard_shim`, which is all that a task in another environment needs."""
