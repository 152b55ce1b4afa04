"""What an account may do by its roles, and what it asked for, each as (API group, resource, verb)."""

import json
from pathlib import Path

from tests.e2e.release import Release

Right = tuple[str, str, str]


def granted(release: Release) -> set[Right]:
    """By the roles of the operator."""
    roles = release.cluster.json("get", "roles", f"--namespace={release.namespace}")["items"]
    rules = [rule for role in roles if f"{release.name}-operator" in role["metadata"]["name"] for rule in role["rules"]]
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(audit_log: Path, account: str) -> tuple[set[Right], list[str]]:
    """By the API server's audit log: what was asked for of resources, and what of it was forbidden."""
    asked: set[Right] = set()
    refused: list[str] = []
    for line in audit_log.read_text().splitlines():
        event = json.loads(line)
        about = event.get("objectRef")
        if event.get("user", {}).get("username") != account or about is None or "resource" not in about:
            continue
        resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
        asked.add((about.get("apiGroup", ""), resource, event["verb"]))
        if event.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid":  # not by a quota
            refused.append(f"{event['verb']} {event['requestURI']}")
    return asked, refused
