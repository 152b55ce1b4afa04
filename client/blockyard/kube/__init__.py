"""Blockyard and Kubernetes: the API (`api`, the only module that knows the `kubernetes` package), and pods of blocks.

`manifest` turns a block into pods and is pure, as are `strategic`, `sizing` and `quantities` below it. Used by the
operator, by `KubernetesProvider`, and by `Client.kubernetes`. Needs the extra `blockyard[kubernetes]`.
"""
