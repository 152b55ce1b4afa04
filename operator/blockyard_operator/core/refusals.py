"""What it means when the API server would not make a pod, or when a Secret that is there cannot be used. Pure.

Lasting are refusals that no repetition mends, because they are about the pod itself; the others (quota, a namespace
that ends, an account that is missing yet) may pass, and are tried again after a pause.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from blockyard_operator.core.view import Refusal

FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 60.0

LASTING: Final = frozenset({"InvalidPod", "AdmissionRefused", "NameTaken"})
OF_THE_TEMPLATE: Final = LASTING | {"NoPriorityClass"}
"""What a dry run may find that speaks against the template; quota and the like do not."""


def read_refusal(
    code: int, reason: str, message: str, fields: Sequence[tuple[str, str]], now: float, before: Refusal | None
) -> Refusal:
    """Read an answer of the API server. `fields`: (path, sentence) of what it found wrong; `before`: the last one."""
    known = {f"{path}: {text}" for path, text in fields if path}
    return _noted(_word(code, reason, message), "; ".join(sorted(known)) or message, now, before)


def problem_of_template(refusal: Refusal) -> str:
    """What a refusal says, with the pool's field in front."""
    if refusal.reason == "NoPriorityClass":
        return f"spec.priorityClassName, or that of spec.template: {refusal.message}"
    return f"spec.template{'.' if refusal.message.startswith('spec.') else ': '}{refusal.message}"


def bad_key(message: str, now: float, before: Refusal | None) -> Refusal:
    """A Secret holds no key where one should be: never overwritten, and looked at again, since somebody may mend it."""
    return _noted("BadKey", message, now, before)


def _noted(word: str, message: str, now: float, before: Refusal | None) -> Refusal:
    pause = FIRST_PAUSE
    if before is not None and before.reason == word:
        pause = min(LONGEST_PAUSE, 2.0 * (before.retry_at - before.at))
    return Refusal(reason=word, message=message, at=now, lasting=word in LASTING, retry_at=now + pause)


def _word(code: int, reason: str, message: str) -> str:
    text = message.lower()
    if "exceeded quota" in text or ("must specify" in text and "failed quota" in text):
        return "QuotaExceeded"
    if "violates podsecurity" in text or "denied the request" in text or "validatingadmissionpolicy" in text:
        return "AdmissionRefused"
    if "error looking up service account" in text:
        return "NoServiceAccount"
    if "no priorityclass with name" in text:
        return "NoPriorityClass"
    if code == 409 and reason == "AlreadyExists":
        return "NameTaken"
    if code in (400, 422):
        return "InvalidPod"
    if "being terminated" in text or code == 404:
        return "NamespaceEnds"
    if code == 403:
        return "Forbidden"
    return reason or f"Http{code}"
