"""Parameters as pydantic models: checked before anything runs, never changed after, and written as a command line.

    class IndexParameters(BinaryParameters):
        executable: str = "indexamajig"
        input: Annotated[Path, Argument(name="i", flag="-")]
        threads: Annotated[int, Argument(name="j", flag="-")] = 4
        out: Annotated[str, Argument(name="o", flag="-", is_result=True)]

Only this module imports pydantic, and only who gives a model imports this one.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

from blockyard.errors import ConfigError
from blockyard.managed.argv import Argument, arguments, word
from blockyard.managed.substitution import substitute
from blockyard.managed.templates import Template, render_to


class TaskParameters(BaseModel):
    """Parameters of one task. Unknown names are refused, and so is changing one afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    impl_schemas: ClassVar[str] = ""
    """Kinds of output that the result is one of, with ``;`` between them."""

    def result_path(self) -> str | None:
        """The path of the result, when parameters say it: of the first field with ``Argument(is_result=True)``.

        Override it where the path is put together from several.
        """
        for name, argument in self.arguments():
            value = getattr(self, name)
            if argument is not None and argument.is_result and value is not None:
                return str(value)
        return None

    def values(self) -> dict[str, Any]:
        """By name, in the order of the fields."""
        return {name: getattr(self, name) for name in (*type(self).model_fields, *(self.model_extra or {}))}

    @classmethod
    def arguments(cls) -> Iterable[tuple[str, Argument | None]]:
        """Each field, and how it is written on a command line if it says."""
        for name, field in cls.model_fields.items():
            yield name, next((one for one in field.metadata if isinstance(one, Argument)), None)


class BinaryParameters(TaskParameters):
    """Parameters of a program. Unknown names are not written as arguments: they are for templates."""

    model_config = ConfigDict(extra="allow")

    executable: str = ""
    templates: ClassVar[tuple[Template, ...]] = ()
    """Configuration files that are written before it starts."""
    order: ClassVar[tuple[str, ...]] = ()
    """Fields in the order that they are written; () for that of their declaration."""


def validated(model: type[TaskParameters], given: Mapping[str, Any], task: str) -> TaskParameters:
    """A model's instance. Raises ConfigError with every field at fault, and the nearest name for an unknown one."""
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        raise ConfigError(f"parameters of {task!r}: {'; '.join(_faults(model, error))}") from error


def _faults(model: type[BaseModel], error: ValidationError) -> Iterable[str]:
    for fault in error.errors(include_url=False):
        where = ".".join(str(part) for part in fault["loc"]) or model.__name__
        if fault["type"] == "extra_forbidden":
            near = difflib.get_close_matches(where, model.model_fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(model.model_fields)}"
            yield f"{where}: there is no such parameter; {hint}"
        elif fault["type"] == "missing":
            yield f"{where}: it is not given"
        else:
            yield f"{where}={fault['input']!r}: {fault['msg'][:1].lower()}{fault['msg'][1:]}"


def command(model: TaskParameters, values: Mapping[str, Any], words: Sequence[str], directory: str) -> list[str]:
    """Write the model's configuration files, and return the words of its command line.

    `values`: the parameters as tasklets left them. `words`: instead of the model's executable. Raises ConfigError.
    """
    for template in getattr(model, "templates", ()):
        render_to(template, values, directory)
    executable = [str(values.get("executable") or "")] if not words and values.get("executable") else []
    program = executable or [word("command", substitute(one, values)) for one in words]
    declared = dict(model.arguments())
    order = getattr(model, "order", ()) or tuple(declared)
    unknown = [name for name in order if name not in declared]
    if unknown:
        raise ConfigError(f"{type(model).__name__}.order: {', '.join(unknown)}: no such field")
    places = [*order, *(name for name in declared if name not in order)]
    written = ((name, values.get(name), declared[name]) for name in places if name != "executable")
    return [*program, *arguments(written)]


@functools.lru_cache(maxsize=256)
def schema(model: type[BaseModel]) -> dict[str, Any]:
    """The model as JSON schema, for editors and for the record; empty for one with types that JSON has no word for."""
    try:
        return model.model_json_schema()
    except PydanticInvalidForJsonSchema:
        return {}


def described(model: type[BaseModel]) -> list[tuple[str, str, str, str]]:
    """Name, type, default and description of each field."""
    found = []
    for name, field in model.model_fields.items():
        annotation: Any = field.annotation
        plain = isinstance(annotation, type) and not get_args(annotation)
        kind = annotation.__name__ if plain else str(annotation).replace("typing.", "")
        argument = next((one for one in field.metadata if isinstance(one, Argument)), None)
        default = "required" if field.is_required() else repr(field.get_default(call_default_factory=True))
        about = field.description or (argument.description if argument else "")
        found.append((name, kind, default, about))
    return found


__all__ = ["BinaryParameters", "TaskParameters", "command", "described", "schema", "validated"]
