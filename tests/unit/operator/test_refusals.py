"""Answers of the API server to the creation of a pod, as they came from real ones."""

import pytest

from blockyard_operator.core.refusals import LONGEST_PAUSE, read_refusal

QUOTA = 'pods "p-abcde-0" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2'
SECURITY = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false'
WEBHOOK = 'admission webhook "check.example.com" denied the request: no'
POLICY = "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"
ACCOUNT = 'pods "x" is forbidden: error looking up service account n/mine: serviceaccount "mine" not found'
CLASS = 'pods "x" is forbidden: no PriorityClass with name vip was found'
ENDING = 'pods "x" is forbidden: unable to create new content in namespace n because it is being terminated'
RIGHTS = 'pods is forbidden: User "system:serviceaccount:b:o" cannot create resource "pods" in API group ""'


@pytest.mark.parametrize(
    "code, reason, message, word, lasting",
    [
        (403, "Forbidden", QUOTA, "QuotaExceeded", False),
        (403, "Forbidden", SECURITY, "AdmissionRefused", True),
        (400, "BadRequest", WEBHOOK, "AdmissionRefused", True),
        (422, "Invalid", POLICY, "AdmissionRefused", True),
        (403, "Forbidden", ACCOUNT, "NoServiceAccount", False),
        (403, "Forbidden", CLASS, "NoPriorityClass", False),
        (403, "Forbidden", ENDING, "NamespaceEnds", False),
        (404, "NotFound", 'namespaces "n" not found', "NamespaceEnds", False),
        (403, "Forbidden", RIGHTS, "Forbidden", False),
        (422, "Invalid", "Pod is invalid", "InvalidPod", True),
        (400, "BadRequest", 'strict decoding error: unknown field "spec.contaners"', "InvalidPod", True),
        (409, "AlreadyExists", 'pods "x" already exists', "NameTaken", True),
    ],
)
def test_an_answer_has_one_word_and_is_lasting_or_not(
    code: int, reason: str, message: str, word: str, lasting: bool
) -> None:
    found = read_refusal(code, reason, message, [], 0.0, None)
    assert (found.reason, found.lasting) == (word, lasting)
    assert found.message == message


def test_fields_are_named_once_each() -> None:
    fields = [("spec.containers[0].image", "Required value"), ("spec.containers[0].image", "Required value")]
    found = read_refusal(422, "Invalid", "long", fields, 0.0, None)
    assert found.message == "spec.containers[0].image: Required value"


def test_the_pause_doubles_while_the_reason_stays() -> None:
    found = None
    pauses = []
    for _ in range(8):
        found = read_refusal(403, "Forbidden", QUOTA, [], 0.0, found)
        pauses.append(found.retry_at)
    assert pauses[:3] == [2.0, 4.0, 8.0]
    assert pauses[-1] == LONGEST_PAUSE
    assert read_refusal(403, "Forbidden", RIGHTS, [], 0.0, found).retry_at == 2.0
