"""Configuration files out of Jinja2 templates. Only this module imports it.

Strict: a name that there is not is an error with the nearest one. Templates are sandboxed: they come from who declares
a task, and what is filled in comes from who runs it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from blockyard.errors import ConfigError
from blockyard.managed.substitution import substitute
from blockyard.suggestion import nearest


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """A file to be written before a program starts."""

    path: str
    """Where it is written, relative to the task's folder; ``{{ name }}`` is filled in."""
    source: str = ""
    """The template's file."""
    text: str = ""
    """The template itself, instead of a file."""


def render_to(template: Template, values: Mapping[str, Any], directory: str) -> Path:
    """Write the file and return its path. Raises ConfigError naming template and name."""
    path = Path(directory, str(substitute(template.path, values)))
    text = template.text
    if template.source:
        try:
            text = Path(template.source).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"template {template.source}: {error}") from error
    written = render(text, values, template.source or template.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(written)
    draft.replace(path)
    return path


def render(text: str, values: Mapping[str, Any], name: str) -> str:
    """The template filled in. Raises ConfigError with the line."""
    from jinja2 import StrictUndefined, TemplateError, UndefinedError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False, trim_blocks=True, lstrip_blocks=True
    )
    try:
        return environment.from_string(text).render(dict(values))
    except UndefinedError as error:
        quoted = str(error.message).split("'")
        hint = nearest(quoted[1] if len(quoted) > 1 else "", values)
        raise ConfigError(f"template {name}: {error.message}{hint}") from error
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        place = f", line {line}" if line else ""
        raise ConfigError(f"template {name}{place}: {error}") from error
