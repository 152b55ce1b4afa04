"""What the steps of a spec can name: its parameters, and one another.

Whether a step may name what is there is left to `references`, `conditions` and `needs`.
"""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from blockyard.workflow.reading import Fault
from blockyard.workflow.spec import MOST_LETTERS, Step, Workflow

_FIRST: Final = f"{string.ascii_letters}_"
_LETTERS: Final = f"{_FIRST}{string.digits}-".encode()


def are_words(names: Sequence[str]) -> bool:
    """Whether each may be the name of a step: what `spec.Word` asks for, of very many at once."""
    text = "".join(names)
    return (
        text.isascii()
        and not text.encode().translate(None, _LETTERS)
        and not "".join([name[:1] for name in names]).strip(_FIRST)
        and all(names)
        and max(map(len, names), default=0) <= MOST_LETTERS
    )


_POOL: Final = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


def pool_faults(path: str, pool: str) -> Iterator[Fault]:
    """What no pool is called, on any interchange: on that of a cluster they are NAMESPACE/NAME."""
    if not _POOL.fullmatch(pool):
        yield Fault(path, f"{pool!r:.60} is no name of a pool")


class Names:
    """What there is to name in one spec."""

    def __init__(self, spec: Workflow) -> None:
        self.parameters = {one.name: one for one in spec.parameters}
        given = ((one.name, spec.arguments.get(one.name, one.default)) for one in spec.parameters)
        self.values = {name: value for name, value in given if value is not None}
        """Of parameters, as far as they are known."""
        self.places = spec.places
        self._spec = spec
        self._nests = tuple(f"{step.name}-" for step in spec.steps if step.template is not None)
        """How the names of steps begin that templates bring: whether they are there is `nesting`'s to say."""

    @functools.cached_property
    def steps(self) -> Mapping[str, Step]:
        """As `places`; of very many steps that are all in order nobody asks for them."""
        return {name: self._spec.steps[place] for name, place in self.places.items()}

    def has_step(self, name: str) -> bool:
        """Whether there is one, or may be when templates are filled in."""
        return name in self.places or name.startswith(self._nests)

    def outputs(self, name: str, wanted: str) -> list[str]:
        """What a step declares; that of a template, or of none, is another's matter."""
        step = self.steps.get(name)
        return [wanted] if step is None or step.template is not None else step.outputs
