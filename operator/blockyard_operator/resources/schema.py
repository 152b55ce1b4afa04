"""Records to structural schemas (OpenAPI v3 as Kubernetes takes it).

Of each field: type, bounds, default, description. Of each record: properties, what is required, CEL rules (`RULES`).
Defaults are written at every level, so that an object in the cluster shows what the operator will do.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any

import msgspec
from msgspec import inspect as types

Schema = dict[str, Any]


def schema_of(record: type[msgspec.Struct]) -> Schema:
    """The schema of a record and all below it. Raises TypeError for a type that resources must not have."""
    info = types.type_info(record)
    if not isinstance(info, types.StructType):
        raise TypeError(f"{record!r} is no record")
    return _struct(info)


def _struct(info: types.StructType) -> Schema:
    properties: Schema = {}
    required: list[str] = []
    notes = _field_notes(info.cls)
    for field in info.fields:
        schema = _type(field.type)
        if field.name in notes:
            schema.setdefault("description", notes[field.name])
        default = _default(field)
        if default is not None:
            schema["default"] = default
        if field.required:
            required.append(field.encode_name)
        properties[field.encode_name] = schema
    schema = {"type": "object", "description": _summary(info.cls), "properties": properties}
    if required:
        schema["required"] = required
    if rules := getattr(info.cls, "RULES", ()):
        schema["x-kubernetes-validations"] = [dict(one) for one in rules]
    return schema


def _type(kind: types.Type) -> Schema:  # noqa: C901 - one flat case for each kind of type
    match kind:
        case types.Metadata():
            return _type(kind.type) | dict(kind.extra_json_schema or {})
        case types.UnionType():
            return _union(kind)
        case types.StructType():
            return _struct(kind)
        case types.StrType():
            return {"type": "string"} | _bounds(kind, pattern="pattern", min_length="minLength", max_length="maxLength")
        case types.IntType():
            return {"type": "integer", "format": "int64"} | _bounds(kind, ge="minimum", le="maximum")
        case types.FloatType():
            return {"type": "number"} | _bounds(kind, ge="minimum", le="maximum")
        case types.BoolType():
            return {"type": "boolean"}
        case types.EnumType():
            return {"type": "string", "enum": [member.value for member in kind.cls]}
        case types.AnyType():
            return {}
        case types.ListType():
            return {"type": "array", "items": _type(kind.item_type)} | _bounds(
                kind, min_length="minItems", max_length="maxItems"
            )
        case types.DictType() if isinstance(kind.value_type, types.AnyType):
            return {"type": "object"}
        case types.DictType():
            return {"type": "object", "additionalProperties": _type(kind.value_type)}
    raise TypeError(f"{kind!r}: a resource must not hold this")


def _union(kind: types.UnionType) -> Schema:
    """An optional field is simply not required; text or number is Kubernetes' int-or-string, text or object anything."""
    inner = [one for one in kind.types if not isinstance(one, types.NoneType)]
    if len(inner) == 1:
        return _type(inner[0])
    if all(isinstance(one, types.StrType | types.IntType | types.StructType) for one in inner):
        return {}
    raise TypeError(f"{kind!r}: a resource must not hold a union of these")


def _bounds(kind: types.Type, **names: str) -> Schema:
    return {theirs: value for ours, theirs in names.items() if (value := getattr(kind, ours)) is not None}


def default_of(record: type[msgspec.Struct]) -> Schema:
    """The object that a record is when nothing is said: all fields that have a default, at every level.

    The API server holds a default against the rules before it fills it in, so it must be whole.
    """
    info = types.type_info(record)
    assert isinstance(info, types.StructType)
    found = {field.encode_name: _default(field) for field in info.fields}
    return {name: value for name, value in found.items() if value is not None}


def _default(field: types.Field) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    elif field.default is not msgspec.NODEFAULT:
        value = field.default
    else:
        return None
    if isinstance(value, msgspec.Struct):
        return default_of(type(value))
    return None if value in ([], {}) else msgspec.to_builtins(value)


def _summary(record: type) -> str:
    return inspect.cleandoc(record.__doc__ or "").replace("\n", " ").replace("`", "")


def _field_notes(record: type) -> dict[str, str]:
    """The texts below the fields of a record, by encoded name: a description stands where the field is."""
    notes: dict[str, str] = {}
    body = ast.parse(textwrap.dedent(inspect.getsource(record))).body[0]
    assert isinstance(body, ast.ClassDef)
    for field, text in zip(body.body, body.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str):
            notes[field.target.id] = inspect.cleandoc(text.value.value).replace("\n", " ").replace("`", "")
    return notes
