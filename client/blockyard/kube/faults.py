"""What can go wrong between us and an API server. All below `BlockyardError`; each says what was asked and answered."""

from __future__ import annotations

import msgspec

from blockyard.errors import BlockyardError


class Cause(msgspec.Struct, frozen=True):
    """One thing that the server has against a request; `field` is a path such as spec.containers[0].image."""

    field: str
    message: str


class ApiError(BlockyardError):
    """The API server refused a request. `code` is HTTP's, `reason` Kubernetes' word for it (NotFound, Conflict, …)."""

    def __init__(self, asked: str, code: int, reason: str, message: str, causes: tuple[Cause, ...] = ()) -> None:
        super().__init__(asked, code, reason, message, causes)
        self.asked = asked
        self.code = code
        self.reason = reason
        self.message = message
        self.causes = causes

    def __str__(self) -> str:
        return f"{self.asked}: {self.code} {self.reason}: {self.message}"

    @property
    def not_found(self) -> bool:
        return self.code == 404

    @property
    def already_exists(self) -> bool:
        return self.code == 409 and self.reason == "AlreadyExists"

    @property
    def conflict(self) -> bool:
        """Somebody else changed the object, or it is another one than we meant."""
        return self.code == 409 and self.reason != "AlreadyExists"

    @property
    def expired(self) -> bool:
        """What a watch or a list would go on from is no longer there."""
        return self.code == 410

    @property
    def transient(self) -> bool:
        """The same request may be granted later without anybody doing anything."""
        return self.code == 429 or self.code >= 500


class ApiUnreachable(BlockyardError):
    """No answer: refused connection, lost connection, timeout. Whether a write was carried out is not known."""

    def __init__(self, asked: str, problem: str) -> None:
        super().__init__(asked, problem)
        self.asked = asked
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.asked}: no answer: {self.problem}"


class NoCluster(BlockyardError):
    """There is no usable configuration of a cluster: set KUBECONFIG, name a context, or run inside a pod."""
