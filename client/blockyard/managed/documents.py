"""The two-document YAML file of managed tasks: a header, and a section of parameters for each task.

    %YAML 1.2
    ---
    title: Lysozyme
    run: 12
    work_dir: /data/{{ $EXPERIMENT }}
    ---
    FindPeaks:
      output: "{{ work_dir }}/peaks_{{ run:04d }}.cxi"
    Index:
      input: "{{ FindPeaks.output }}"

Every ``{{ … }}`` of the whole file is resolved, in whatever order they depend on each other, lists included; a cycle or
a name that there is not is an error with its place. See `substitution` for the grammar.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from blockyard import yaml_text
from blockyard.errors import ConfigError
from blockyard.managed.substitution import Path as Place
from blockyard.managed.substitution import UnknownName, has_places, missing, render, shown

HEADER_NAMES = ("lute_config", "config")
"""Names under which the header can be named as a whole."""
_MOST_BYTES = 16 * 1024 * 1024


class Document(msgspec.Struct, frozen=True):
    """A resolved file."""

    header: dict[str, Any]
    sections: dict[str, dict[str, Any]]

    def section(self, task: str) -> dict[str, Any]:
        """A task's parameters; none for a task without a section."""
        return self.sections.get(task, {})


def read_document(path: str | os.PathLike[str], variables: Mapping[str, str] | None = None) -> Document:
    """Read and resolve a file. `variables`: for ``$NAME``; this process's environment if None. Raises ConfigError."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if len(text) > _MOST_BYTES:
        raise ConfigError(f"{path}: {len(text)} bytes, at most {_MOST_BYTES} are read")
    try:
        return parse_document(text.decode(), variables)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: it is not UTF-8: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def parse_document(text: str, variables: Mapping[str, str] | None = None) -> Document:
    """The same from text. One document is taken for the sections, with an empty header."""
    # YAML aliases can't blow up here: what is read is resolved once a place, and the text is bounded.
    documents = yaml_text.objects(text, "managed")
    if len(documents) == 1:
        documents = [{}, *documents]
    if len(documents) != 2:
        raise ConfigError(f"{len(documents)} documents; give a header, ---, and the sections of the tasks")
    header, sections = (_mapping(one, where) for one, where in zip(documents, ("header", "sections"), strict=True))
    both = sorted(header.keys() & sections.keys())
    if both:
        raise ConfigError(f"{', '.join(both)}: both in the header and as a section; rename one of them")
    resolver = _Resolver(header, sections, os.environ if variables is None else variables)
    resolved = {name: resolver.value((name,)) for name in sections}
    faulty = [name for name, section in resolved.items() if not isinstance(section, dict)]
    if faulty:
        raise ConfigError(f"section {faulty[0]!r}: a table of parameters is expected")
    return Document({name: resolver.value((name,)) for name in header}, resolved)


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ConfigError(f"{where}: a table of names is expected, found {type(value).__name__}")
    return value


class _Placed(ConfigError):
    """A fault whose sentence begins with its place."""


class _Resolver:
    """Values of places, each worked out once, those that it depends on first."""

    def __init__(self, header: dict[str, Any], sections: dict[str, Any], variables: Mapping[str, str]) -> None:
        self._root = {**header, **sections}
        for name in HEADER_NAMES:
            self._root.setdefault(name, header)
        self._variables = variables
        self._known: dict[Place, Any] = {}
        self._open: list[Place] = []

    def value(self, place: Place) -> Any:
        """The resolved value of a place. Raises ConfigError naming it."""
        if place in self._known:
            return self._known[place]
        raw = self._raw(place)
        if isinstance(raw, dict):
            found: Any = {name: self.value((*place, name)) for name in raw}
        elif isinstance(raw, list):
            found = [self.value((*place, number)) for number in range(len(raw))]
        elif isinstance(raw, str) and has_places(raw):
            found = self._resolved(place, raw)
        else:
            found = raw.replace("$${{", "{{") if isinstance(raw, str) else raw
        self._known[place] = found
        return found

    def _resolved(self, place: Place, raw: str) -> Any:
        if place in self._open:
            cycle = " → ".join(shown(one) for one in [*self._open[self._open.index(place) :], place])
            raise _Placed(f"{shown(place)}: it depends on itself: {cycle}")
        self._open.append(place)
        try:
            return render(raw, self.value, self._variables)
        except _Placed:
            raise
        except ConfigError as error:
            raise _Placed(f"{shown(place)}: {error}") from error
        finally:
            self._open.pop()

    def _raw(self, place: Place) -> Any:
        here: Any = self._root
        for number, part in enumerate(place):
            if isinstance(here, str) and has_places(here):
                here = self.value(place[:number])  # what it stands for may have parts
            if isinstance(here, dict) and part in here:
                here = here[part]
            elif isinstance(here, list) and isinstance(part, int) and part < len(here):
                items: list[Any] = here
                here = items[part]
            else:
                names = {one: None for one in here if one not in HEADER_NAMES} if isinstance(here, dict) else here
                raise UnknownName(f"{shown(place)!r}: {missing(shown(place[:number]), part, names)}")
        return here
