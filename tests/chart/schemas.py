"""JSON schemas for kubeconform, made offline: from Kubernetes' own OpenAPI, and from our definitions.

kubeconform's usual schemas come from the network. The same facts are in the module k8s.io/kubernetes, which the test
cluster is built from. Unknown fields are refused in every object that names its fields.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import parts
from tests.cluster.shell import run
from tests.machine import ROOT

LOCATION = "{{.ResourceKind}}-{{.Group}}-{{.ResourceAPIVersion}}.json"
"""File names, as kubeconform's templates write them; kinds are in lower case."""


def write_all(folder: Path) -> None:
    """Fill a folder with a schema for each kind of Kubernetes, and for ours."""
    module = f"k8s.io/kubernetes@v{parts.KUBERNETES}"
    where = Path(json.loads(run(["go", "mod", "download", "-json", module], cwd=parts.GO / "kube", timeout=900))["Dir"])
    document = json.loads((where / "api" / "openapi-spec" / "swagger.json").read_text())
    definitions = {name: _strict(one) for name, one in document["definitions"].items()}
    (folder / "definitions.json").write_text(json.dumps({"definitions": definitions}))
    for name, one in definitions.items():
        for kind in one.get("x-kubernetes-group-version-kind", []):
            _write(
                folder, kind["kind"], kind["group"], kind["version"], {"$ref": f"definitions.json#/definitions/{name}"}
            )
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        crd = yaml.safe_load(path.read_text())["spec"]
        for version in crd["versions"]:
            schema = _strict(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            _write(folder, crd["names"]["kind"], crd["group"], version["name"], schema)


def _write(folder: Path, kind: str, group: str, version: str, schema: Any) -> None:
    # of the core API, whose group is '', kubeconform says that its group is its version
    (folder / f"{kind.lower()}-{group or version}-{version}.json").write_text(json.dumps(schema))


def _strict(schema: Any) -> Any:
    """A copy that refuses unknown fields and speaks plain JSON schema."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: value for key, value in schema.items() if key not in ("format", "description", "default")}
    for key in ("items", "additionalProperties", "allOf", "anyOf", "oneOf"):
        if key in strict:
            strict[key] = _strict(strict[key])
    if "properties" in strict:  # whose keys are names of fields, "$ref" and "format" among them
        strict["properties"] = {name: _strict(one) for name, one in strict["properties"].items()}
    if "$ref" in strict:
        strict["$ref"] = strict["$ref"].replace("#/definitions/", "definitions.json#/definitions/")
    if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
        strict["type"] = ["integer", "string"]
    opened = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if "properties" in schema and not opened:
        strict["additionalProperties"] = False
    return strict
