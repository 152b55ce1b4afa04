"""Requests are read in RBAC's words, and each fault strikes those it is meant for."""

import pytest

from tests.cluster.calls import Call, call_of
from tests.cluster.faults import CONFLICT, TOO_MANY, Fault, Hang, striking


@pytest.mark.parametrize(
    "method,target,verb,resource,group,namespace,name",
    [
        ("GET", "/api/v1/pods", "list", "pods", "", "", ""),
        ("GET", "/api/v1/namespaces", "list", "namespaces", "", "", ""),
        ("GET", "/api/v1/namespaces/a", "get", "namespaces", "", "", "a"),
        ("PUT", "/api/v1/namespaces/a/finalize", "update", "namespaces/finalize", "", "", "a"),
        ("GET", "/api/v1/namespaces/a/pods?watch=true", "watch", "pods", "", "a", ""),
        ("GET", "/api/v1/namespaces/a/pods?watch=0", "list", "pods", "", "a", ""),
        ("GET", "/api/v1/namespaces/a/pods/b/log", "get", "pods/log", "", "a", "b"),
        ("DELETE", "/api/v1/namespaces/a/pods", "deletecollection", "pods", "", "a", ""),
        ("DELETE", "/api/v1/namespaces/a/pods/b", "delete", "pods", "", "a", "b"),
        ("POST", "/apis/apps/v1/namespaces/a/deployments", "create", "deployments", "apps", "a", ""),
        ("PATCH", "/apis/blockyard.dev/v1alpha1/namespaces/a/workerpools/p/status", "patch", "workerpools/status",
         "blockyard.dev", "a", "p"),
        ("GET", "/readyz", "get", "/readyz", "", "", ""),
        ("GET", "/apis", "get", "/apis", "", "", ""),
    ],
)  # fmt: skip
def test_a_request_is_read(
    method: str, target: str, verb: str, resource: str, group: str, namespace: str, name: str
) -> None:
    assert call_of(method, target) == Call(verb, resource, group, namespace, name, target)


LIST_PODS, PATCH_POD = Call("list", "pods"), Call("patch", "pods")


def test_a_fault_strikes_as_often_as_it_says() -> None:
    fault = Fault(TOO_MANY, "list", "pods", times=2, skip=1)
    assert [striking([fault], [met], LIST_PODS) for met in range(4)] == [None, 0, 0, None]


def test_a_fault_leaves_other_requests_alone() -> None:
    assert striking([Fault(TOO_MANY, "list", "pods")], [0], PATCH_POD) is None
    assert striking([Fault(CONFLICT, "write")], [0], PATCH_POD) == 0
    assert striking([Fault(CONFLICT, "write")], [0], LIST_PODS) is None


def test_the_first_that_is_not_used_up_strikes() -> None:
    faults = [Fault(TOO_MANY), Fault(Hang())]
    assert striking(faults, [0, 0], LIST_PODS) == 0
    assert striking(faults, [1, 0], LIST_PODS) == 1
    assert striking(faults, [1, 1], LIST_PODS) is None
