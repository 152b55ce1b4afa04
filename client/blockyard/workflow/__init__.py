"""Workflows: steps that become tasks of one run, from a file, a custom resource or Python.

`spec` is what people write, `checking` says all that is wrong with it, `compiling` makes tasks of it, `steps` runs one
step on a worker. The interchange decides what runs when (`blockyard_interchange.core.triggers`, `.hosted`), so that a
run goes on when who submitted it is away.
"""
