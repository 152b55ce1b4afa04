"""The records of the custom resources and what is generated from them.

Whether the API server takes the schemas, and refuses what the rules forbid, is seen in `tests/integration/operator`.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from blockyard_operator.core.objects import block_name, read_pool, template_hash
from blockyard_operator.resources.crds import block_crd, pool_crd, render
from blockyard_operator.resources.fields import MAX_ITEMS, blocks_of
from blockyard_operator.resources.pool import PoolSpec
from tests.machine import ROOT

CLIENT_SIDE_APPLY = 256 * 1024
"""`kubectl apply` keeps the whole object in an annotation, and this is the most that all of them may have."""


def test_what_is_checked_in_is_what_the_records_say() -> None:
    found = {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}
    assert found == render(), "make crds"


@pytest.mark.parametrize("crd", [pool_crd(), block_crd()], ids=["WorkerPool", "WorkerBlock"])
def test_a_definition_is_small_enough_for_plain_kubectl_apply(crd: dict[str, Any]) -> None:
    assert len(json.dumps(crd)) < CLIENT_SIDE_APPLY / 2


@pytest.mark.parametrize("crd", [pool_crd(), block_crd()], ids=["WorkerPool", "WorkerBlock"])
def test_every_schema_is_structural_and_bounded(crd: dict[str, Any]) -> None:
    root = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for path, schema in walk(root, ""):
        assert "type" in schema or schema.get("x-kubernetes-int-or-string"), path
        if schema.get("type") == "string" and path.split(".")[0] in ("spec", "status"):
            assert "maxLength" in schema or "enum" in schema or "format" in schema, f"{path}: a text without an end"
        if schema.get("type") == "array":
            assert schema["maxItems"] <= MAX_ITEMS, path
        if schema.get("additionalProperties"):
            assert schema["maxProperties"] <= MAX_ITEMS, path
    status = root["properties"]["status"]
    assert not any("additionalProperties" in schema for _, schema in walk(status, "status"))


def walk(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if path:
        yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from walk(schema["additionalProperties"], f"{path}{{}}")


def test_columns_and_scale_point_at_fields_that_exist() -> None:
    for crd in (pool_crd(), block_crd()):
        version = crd["spec"]["versions"][0]
        paths = [column["jsonPath"] for column in version["additionalPrinterColumns"]]
        paths += version["subresources"].get("scale", {}).values()
        known = {path for path, _ in walk(version["schema"]["openAPIV3Schema"], "")}
        for path in paths:
            plain = path.lstrip(".").split("[?")[0]
            assert plain in known or plain.startswith("metadata."), path


def test_an_empty_spec_is_a_pool() -> None:
    raw = {"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {}}
    pool = read_pool(raw)
    assert pool.unreadable == ""
    assert (pool.spec.blocks.min, pool.spec.blocks.max, pool.queue) == (0, 10, "n.p")


def test_a_spec_that_cannot_be_read_says_where() -> None:
    raw = {"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {"blocks": {"max": "many"}}}
    assert "spec.blocks.max" in read_pool(raw).unreadable


def test_names_of_blocks_differ_for_each_number_and_hardly_meet_those_of_others() -> None:
    mine = {block_name("p", "uid-a", ordinal) for ordinal in range(1, 20_001)}
    assert len(mine) == 20_000
    assert len(block_name("p", "uid-a", 1)) == len("p-") + 5
    assert block_name("p", "uid-a", 1) != block_name("p", "uid-b", 1)


def test_the_hash_follows_what_makes_blocks_and_nothing_else() -> None:
    first = template_hash(PoolSpec(), "image:1")
    assert first == template_hash(PoolSpec(suspend=True, parallelism=0.5), "image:1")
    assert first != template_hash(PoolSpec(workers_per_node=2), "image:1")
    assert first != template_hash(PoolSpec(), "image:2")


@pytest.mark.parametrize("share, up, count", [(3, True, 3), ("25%", True, 3), ("25%", False, 2), ("0%", True, 0)])
def test_a_share_is_a_number_or_a_percentage(share: int | str, up: bool, count: int) -> None:
    assert blocks_of(share, 9, round_up=up) == count


def test_the_files_are_yaml_with_a_header() -> None:
    for text in render().values():
        assert text.startswith("# Generated")
        assert yaml.safe_load(text)["kind"] == "CustomResourceDefinition"
