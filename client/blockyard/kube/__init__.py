"""Blockyard and Kubernetes: the API (`api`, the only module that knows the `kubernetes` package), and pods of blocks.

`manifest` turns a block into pods and is pure, as are `strategic`, `sizing` and `quantities` below it. `evidence` reads
the state of a block from pods and is pure, too, with `pods`, `ends` and `living` below. Used by the operator, by
`KubernetesProvider`, and by `Client.kubernetes`, whose ways to the interchange are `access` and `forward`.
Needs the extra `blockyard[kubernetes]`.
"""
