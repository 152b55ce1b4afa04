"""Pods of a block that a program outside of the operator makes: their names and manifests, as pure functions.

They carry labels of their own, so that an operator in the same namespace leaves them alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from blockyard.blocks.provider import BlockRequest
from blockyard.blocks.strays import BLOCK_MARK, OWNER_MARK
from blockyard.kube import manifest
from blockyard.kube.api import Object
from blockyard.kube.strategic import merge

OWNER_LABEL: Final = f"{manifest.PREFIX}outside-owner"
JOB_LABEL: Final = f"{manifest.PREFIX}outside-block"


class Pods(msgspec.Struct, frozen=True, kw_only=True):
    """What the pods of a provider are made from.

    `image`: of the container that runs a block's program. `namespace`: '' for the context's own. `template`: 'metadata'
    and 'spec' of a pod template, as far as it differs from the usual pod (see `manifest`); its container is called
    'worker'. `secret`: mounted at /var/run/blockyard, '' for none. `grace`: seconds between SIGTERM and SIGKILL.
    """

    image: str
    namespace: str = ""
    template: Mapping[str, Any] = {}
    secret: str = ""
    pull_policy: str = ""
    pull_secrets: tuple[str, ...] = ()
    grace: float = 30.0


def pod_set(pods: Pods, request: BlockRequest, *, name: str, namespace: str, pool: str, owner: str) -> manifest.Block:
    """The block whose pods run a request's program, under a name from `base_name`."""
    marks = {BLOCK_MARK: request.block, OWNER_MARK: owner}
    program = {
        "name": manifest.WORKER,
        "command": [_literal(word) for word in request.argv],
        "env": [{"name": key, "value": _literal(value)} for key, value in {**request.env, **marks}.items()],
    }
    given = pods.template
    spec = merge({"containers": [program]}, given.get("spec") or {})
    return manifest.Block(
        name=name,
        namespace=namespace,
        pool=pool,
        image=pods.image,
        secret=pods.secret,
        template={"metadata": given.get("metadata") or {}, "spec": merge(spec, {"containers": [program]})},
        nodes=request.nodes,
        workers_per_node=1,
        drain_timeout=max(0.0, pods.grace - manifest.STOP_MARGIN),
        pull_policy=pods.pull_policy,
        pull_secrets=pods.pull_secrets,
        labels={OWNER_LABEL: owner},
    )


def base_name(job: str, nonce: str) -> str:
    """A name for a job's pods: readable, and no other job's, of an earlier program (its nonce differs) neither."""
    readable = re.sub(r"[^a-z0-9]+", "-", job.lower()).strip("-")[:40]
    digest = hashlib.blake2b(job.encode(), digest_size=3).hexdigest()  # what was cut off may be all that differs
    return f"b-{readable}-{digest}{nonce}"


def outside(made: Object) -> Object:
    """The same object as one that no operator takes for its own."""
    meta, spec = made["metadata"], dict(made["spec"])
    labels = dict(meta["labels"])
    labels[JOB_LABEL] = labels.pop(manifest.BLOCK_LABEL)
    labels.pop(manifest.POOL_LABEL, None)
    if "selector" in spec:
        spec["selector"] = {JOB_LABEL: spec["selector"][manifest.BLOCK_LABEL]}
    return {**made, "metadata": {**meta, "labels": labels}, "spec": spec}


def _literal(text: str) -> str:
    """As Kubernetes leaves it alone: it would put variables in the place of ``$(NAME)``, and one ``$`` for two."""
    return text.replace("$", "$$")
