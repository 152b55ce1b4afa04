"""The chart, rendered by helm, as the objects that an API server would get."""

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from tests.cluster.building import workshop
from tests.cluster.shell import run
from tests.machine import ROOT

CHART = ROOT / "charts" / "blockyard"
CASES = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
RELEASE, NAMESPACE = "rel", "yard"

Object: TypeAlias = dict[str, Any]


@functools.cache
def helm() -> Path:
    """The program; it is built at the first use, which takes minutes."""
    return workshop().program("helm")


@functools.cache
def text(case: str, *sets: str) -> str:
    """What `helm template` says with a values file of ci/ and further ``--set`` words. Raises CommandFailed."""
    words = [word for one in sets for word in ("--set", one)]
    return _rendered(CHART / "ci" / f"{case}-values.yaml", *words)


def objects_of(values: Mapping[str, Any], folder: Path) -> list[Object]:
    """What it makes of these values, of which it writes a file into `folder`. Raises CommandFailed."""
    path = folder / "values.json"
    path.write_text(json.dumps(values))
    return _loaded(_rendered(path))


def _rendered(values: Path, *words: str) -> str:
    return run([helm(), "template", RELEASE, CHART, "--namespace", NAMESPACE, "--values", values, *words], timeout=300)


def _loaded(text: str) -> list[Object]:
    return [one for one in yaml.load_all(text, Loader=yaml.CSafeLoader) if one]


@functools.cache
def objects(case: str, *sets: str) -> list[Object]:
    """The same as objects, which are shared: nobody changes them."""
    return _loaded(text(case, *sets))


def of_kind(kind: str, case: str, *sets: str) -> dict[str, Object]:
    """Those of a kind, by name."""
    return {one["metadata"]["name"]: one for one in objects(case, *sets) if one["kind"] == kind}


def pod_specs(case: str) -> Iterator[tuple[str, Object]]:
    """Every pod that the release runs: kind and name of what makes it, and its spec."""
    for one in objects(case):
        name = f"{one['kind']}/{one['metadata']['name']}"
        if one["kind"] == "Pod":
            yield name, one["spec"]
        elif "template" in one.get("spec", {}):
            yield name, one["spec"]["template"]["spec"]


def containers(spec: Mapping[str, Any]) -> list[Object]:
    """All containers of a pod."""
    return [*spec.get("initContainers", []), *spec["containers"]]
