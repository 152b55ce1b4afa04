"""What people write: a workflow as records, the same in a file, in a custom resource and from the Python builder.

`operator/blockyard_operator/resources` makes the CRDs of these records, `schema` a JSON schema for editors; so there is
one list of fields. What a field's value may be besides its type is checked in `checking`.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, TypeAlias

from msgspec import Meta, Struct, field

from blockyard.kube.kinds import OBJECT_NAME
from blockyard.kube.quantities import QUANTITY, SPAN
from blockyard.workflow.places import mapped

API_VERSION: Final = "blockyard.dev/v1alpha1"
RUN_KIND: Final = "WorkflowRun"
TEMPLATE_KIND: Final = "WorkflowTemplate"
CRON_KIND: Final = "CronWorkflowRun"

MOST_STEPS: Final = 1000
"""In a custom resource; a file or Python may have as many as `MOST_LOCAL_STEPS`."""
MOST_LOCAL_STEPS: Final = 200_000
MOST_ITEMS: Final = 1_000_000
"""Of one sweep."""

NAME: Final = r"^[A-Za-z_][A-Za-z0-9_-]*$"
MOST_LETTERS: Final = 63
"""Of a name."""

_ANY: Final = {"x-kubernetes-preserve-unknown-fields": True}


class Record(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """A part of a workflow. Field names are camelCase outside, defaults are left out."""


Value: TypeAlias = Annotated[Any, Meta(extra_json_schema=_ANY)]
"""Anything that JSON can say; a text may have references in it: ``${{ params.n }}``, ``${{ steps.a.result }}``."""

Values: TypeAlias = Annotated[dict[str, Any], Meta(extra_json_schema=_ANY)]

Word: TypeAlias = Annotated[str, Meta(pattern=NAME, max_length=MOST_LETTERS)]

Span: TypeAlias = Annotated[str, Meta(pattern=f"^{SPAN}$", max_length=32)]
"""A time span: '90s', '1h30m'."""

Amount: TypeAlias = Annotated[
    str | int,
    Meta(
        extra_json_schema={
            "x-kubernetes-int-or-string": True,
            "pattern": f"^{QUANTITY}$",
            "maxLength": 32,
        }
    ),
]
"""'500m', '2Gi', 4."""


class Kind(StrEnum):
    """Of a parameter's value."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    LIST = "list"
    OBJECT = "object"


class Parameter(Record, frozen=True):
    """Something that a run may be given."""

    name: Word
    type: Kind = Kind.STRING
    default: Value | None = None
    """Without one, a run must give it."""
    choices: Annotated[list[Value], Meta(max_length=64)] = []
    """The only values that it may have; empty: any."""
    description: Annotated[str, Meta(max_length=1024)] = ""


class Rule(StrEnum):
    """When a step runs, by how those that it needs have ended. A skipped one is neither success nor failure."""

    ALL_SUCCESS = "AllSuccess"
    ANY_SUCCESS = "AnySuccess"
    ANY_FAILED = "AnyFailed"
    ALL_FAILED = "AllFailed"
    NONE_FAILED = "NoneFailed"
    NONE_FAILED_ANY_SUCCESS = "NoneFailedAnySuccess"
    ALL_SKIPPED = "AllSkipped"
    NONE_SKIPPED = "NoneSkipped"
    ALWAYS = "Always"


class Retry(Record, frozen=True):
    """Further tries after one that failed by its own fault; one lost with its worker never costs any."""

    limit: Annotated[int, Meta(ge=0, le=1000)] = 0
    backoff: Span = "0s"
    """Before the first of them; doubles each time."""
    causes: Annotated[list[Annotated[str, Meta(max_length=256)]], Meta(max_length=32)] = []
    """To try again on; empty: all. Exceptions by qualified or bare name, 'TaskTimeout' and 'OutOfMemory' for limits; of
    programs 'ExitCode', 'ExitCode75', 'SIGSEGV' and other reasons of a managed task."""


class Resources(Record, frozen=True):
    """What one try needs of a node."""

    cpu: Amount | None = None
    memory: Amount | None = None
    accelerators: Annotated[int, Meta(ge=0, le=64)] = 0


class Mpi(Record, frozen=True):
    """A program that runs as several ranks, over the nodes of a block."""

    command: Annotated[list[Annotated[str, Meta(max_length=4096)]], Meta(min_length=1, max_length=256)]
    ranks: Annotated[int, Meta(ge=1, le=1_000_000)]
    ranks_per_node: Annotated[int, Meta(ge=0, le=4096)] = 0
    """0: as many on each as come out even."""
    nodes: Annotated[int, Meta(ge=0, le=1024)] = 0
    """Of one block; 0: as many as ranksPerNode makes of ranks, else one."""

    @property
    def spread(self) -> int:
        """Over how many nodes, 1 or more."""
        return self.nodes or (math.ceil(self.ranks / self.ranks_per_node) if self.ranks_per_node else 1)

    @property
    def most_ranks(self) -> int:
        """On one of them."""
        return self.ranks_per_node or math.ceil(self.ranks / self.spread)


class Sweep(Record, frozen=True):
    """Run the step once for each item, all at once as far as there are workers; its result is the list of theirs.

    Exactly one of these, which `checking` sees to: rules of the API server do not see lists of anything. An item is
    ``${{ item }}``, of product and zip an object with the given names.
    """

    list_: Annotated[list[Value], Meta(min_length=1, max_length=10_000)] | None = field(default=None, name="list")
    product: Values | None = None
    """Name to list of values: each combination is an item."""
    zip: Values | None = None
    """Name to list of values, all equally long: the first of each is an item, and so on."""
    range: Annotated[int, Meta(ge=1, le=MOST_ITEMS)] | None = None
    """Items 0, 1, … up to, but without, this number."""
    from_: Annotated[str, Meta(max_length=1024)] | None = field(default=None, name="from")
    """A reference to a list: ``${{ steps.a.result }}``, ``${{ params.files }}``."""


class MapKey(Record, frozen=True):
    """One text of a ConfigMap of the run's namespace."""

    name: Annotated[str, Meta(pattern=f"^{OBJECT_NAME}$", max_length=253)]
    key: Annotated[str, Meta(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]


SourceText: TypeAlias = Annotated[str, Meta(max_length=128 * 1024)]


class Source(Record, frozen=True):
    """Where Python stands: exactly one of these. `sources` puts the text in the place of it."""

    inline: SourceText | None = None
    config_map: MapKey | None = None
    """In a cluster: what it holds when the run starts."""


class Step(Record, frozen=True):
    """One step, which becomes a task of the run. One of function, source, binary, mpi, task, template says what it
    does."""

    # A field that is one of two types has none in a structural schema, and rules do not see it: of `source`, and of a
    # step that is nothing, `checking` speaks.
    RULES: ClassVar = (
        {
            "rule": "(has(self.__function__) ? 1 : 0) + (has(self.binary) ? 1 : 0) + (has(self.mpi) ? 1 : 0)"
            " + (has(self.task) ? 1 : 0) + (has(self.template) ? 1 : 0) <= 1",
            "message": "say exactly one of function, source, binary, mpi, task, template",
        },
    )

    name: Word
    function: Annotated[str, Meta(max_length=512)] | None = None
    """'package.module:name', which workers can import."""
    source: Annotated[SourceText | Source, Meta(extra_json_schema=_ANY)] | None = None
    """Python that defines a function `main`: the text, or an object of `inline` or `configMap` (`name`, `key`)."""
    binary: Annotated[list[Annotated[str, Meta(max_length=4096)]], Meta(min_length=1, max_length=256)] | None = None
    """A program and its arguments; no shell."""
    mpi: Mpi | None = None
    task: Annotated[str, Meta(max_length=256)] | None = None
    """Name of a managed task."""
    template: Annotated[str, Meta(min_length=1, max_length=253)] | None = None
    """A WorkflowTemplate of the same namespace, or of the same file, whose steps stand in for this one."""
    arguments: Values = {}
    """By name, of function, task or template; of a program, what ``${{ arguments.NAME }}`` in its words stands for."""
    environment: Annotated[dict[str, Annotated[str, Meta(max_length=4096)]], Meta(max_length=256)] = {}
    """For programs."""
    needs: Annotated[list[Word], Meta(max_length=MOST_STEPS)] = []
    """Steps that it waits for, besides those that it has references to."""
    trigger: Rule = Rule.ALL_SUCCESS
    when: Annotated[str, Meta(max_length=1024)] = ""
    """A condition in CEL over `params` and `steps.NAME.state`, `steps.NAME.outputs`; where false, it is skipped."""
    sweep: Sweep | None = None
    outputs: Annotated[list[Word], Meta(max_length=256)] = []
    """Keys of its result, which is an object, that conditions and people see."""
    retry: Retry = Retry()
    timeout: Span | None = None
    """Longest running time of one try."""
    priority: Annotated[int, Meta(ge=-1000, le=1000)] = 0
    """Higher runs first."""
    resources: Resources = Resources()
    idempotent: bool = True
    """It may be run again after a try that was lost midway."""
    cache: bool = False
    """Where the same step succeeded before, in any run of its pool, it does not run and has that one's result."""
    cache_version: Annotated[str, Meta(max_length=256)] = ""
    """Another one finds nothing of what was cached before."""
    pool: Annotated[str, Meta(max_length=253)] = ""
    """Of this step; default: the run's."""


class OneOfMany(Step, frozen=True):
    """A step whose name is looked at together with those of very many others, which takes a third of the time.

    Of what it needs there must be steps, so those names are not looked at twice. All else in it is of the right type,
    for it was read from plain values, or `building` made it.
    """

    name: str
    needs: Annotated[list[str], Meta(max_length=MOST_STEPS)] = []


_OWN_FIELDS: Final = ("name", "needs", "arguments")
_SAID_OF: Final = operator.attrgetter(*(one for one in Step.__struct_fields__ if one not in _OWN_FIELDS))
"""What may be said alike by many steps."""


class Reference(Record, frozen=True):
    """A WorkflowTemplate of the same namespace, or of the same file."""

    name: Annotated[str, Meta(min_length=1, max_length=253)]


class Concurrency(StrEnum):
    """What a run does while another one of the same key has not ended."""

    ALLOW = "Allow"
    """Nothing: it runs beside it."""
    FORBID = "Forbid"
    """It is skipped."""
    REPLACE = "Replace"
    """It has the other one cancelled, and waits for its end."""


class Code(Record, frozen=True):
    """A wheel without compiled code, which the functions of the steps may be in, or import."""

    file: Annotated[str, Meta(max_length=2048)]
    """Its address, as of any file: ``https://…``, ``s3://…``, ``pvc://CLAIM/…``, ``file:///…``."""
    sha256: Annotated[str, Meta(pattern=r"^([0-9a-fA-F]{64})?$", max_length=64)] = ""
    """Of its content: it is verified, and a node that has it asks nobody for it."""


class Workflow(Record, frozen=True, dict=True):
    """Steps, and what a run of them is given."""

    pool: Annotated[str, Meta(max_length=253)] = "default"
    """The WorkerPool whose workers run it."""
    parameters: Annotated[list[Parameter], Meta(max_length=256)] = []
    arguments: Values = {}
    """Values of parameters."""
    template_ref: Reference | None = None
    """Take steps, parameters, code and exit step from there, and what else is not said here."""
    code: Annotated[list[Code], Meta(max_length=16)] = []
    """What workers import from before what they have themselves."""
    steps: Annotated[list[Step], Meta(max_length=MOST_STEPS)] = []
    on_exit: Step | None = None
    """Runs when all others have ended, however, of a cancelled run too."""
    active_deadline_seconds: Annotated[int, Meta(ge=1, le=10**9)] | None = None
    """Steps that have not ended so long after the start fail."""
    ttl_seconds_after_finished: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    """The WorkflowRun is deleted so long after its end, or after it was found Invalid; default: it is kept."""
    suspend: bool = False
    """Start nothing more; what runs goes on."""
    suspend_running: bool = False
    """While it is suspended, its running programs (`binary`, `mpi`, `task`) are stopped; functions go on."""
    cancel: bool = False
    """End the run. This cannot be taken back."""
    attempt: Annotated[int, Meta(ge=1, le=1000)] = 1
    """In a cluster: raised when the run has ended, what has not succeeded runs again, on the results of what has."""
    concurrency_policy: Concurrency = Concurrency.ALLOW
    """In a cluster: what this run does while another one of its key has not ended."""
    concurrency_key: Annotated[str, Meta(max_length=253)] = ""
    """Runs of one namespace with one key are held against one another; default: those of one owner, or template."""

    @functools.cached_property
    def places(self) -> Mapping[str, int]:
        """Of steps by name, of the last of several that have one; the exit step is not among them."""
        return dict(zip([step.name for step in self.steps], itertools.count()))

    @functools.cached_property
    def links(self) -> list[list[int]]:
        """For each step, the places of those that it names in needs; behind all of them where there is none such."""
        needs, places, none = [step.needs for step in self.steps], self.places, len(self.steps)
        try:
            return mapped(needs, places.__getitem__)
        except KeyError:
            return mapped(needs, lambda name: places.get(name, none))

    @functools.cached_property
    def alike(self) -> Sequence[Sequence[Step]]:
        """The steps in their order, those together that say the same one after the other, as of very many nearly all
        do: all but their names, needs and arguments. What they say needs to be looked at but once."""
        return [list(run) for _, run in itertools.groupby(self.steps, _SAID_OF)]

    @property
    def nodes_wanted(self) -> int:
        """How many nodes a block must have, so that each step finds as many as it asks for."""
        steps = self.steps if self.on_exit is None else [*self.steps, self.on_exit]
        return max((step.mpi.spread for step in steps if step.mpi is not None), default=1)


class RunMetadata(Record, frozen=True):
    """Labels and annotations of the runs."""

    labels: Annotated[dict[str, Annotated[str, Meta(max_length=63)]], Meta(max_length=32)] = {}
    annotations: Annotated[dict[str, Annotated[str, Meta(max_length=16384)]], Meta(max_length=32)] = {}


class RunTemplate(Record, frozen=True):
    """The WorkflowRun that is made at each time."""

    spec: Workflow
    metadata: RunMetadata = RunMetadata()


class Cron(Record, frozen=True):
    """When to make a run, and of what; as a CronJob does it."""

    schedule: Annotated[str, Meta(min_length=1, max_length=256)]
    """Five fields of cron: minute, hour, day of the month, month, day of the week; or '@hourly', '@daily', '@weekly',
    '@monthly', '@yearly'."""
    run_template: RunTemplate
    time_zone: Annotated[str, Meta(max_length=64)] = "UTC"
    """By its name in the tz database: 'Europe/Berlin'."""
    starting_deadline_seconds: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    """A run that could not be started so long after its time is left out; default: it is made up for."""
    concurrency_policy: Concurrency = Concurrency.ALLOW
    """What becomes of a run whose time comes while one before it has not ended."""
    suspend: bool = False
    """Start nothing more; what was due meanwhile counts as missed."""
    successful_runs_history_limit: Annotated[int, Meta(ge=0, le=1000)] = 3
    """So many runs that succeeded are kept."""
    failed_runs_history_limit: Annotated[int, Meta(ge=0, le=1000)] = 1
    """And so many that ended otherwise."""


class Metadata(Struct, frozen=True, kw_only=True, rename="camel"):
    """Of an object; whatever else Kubernetes keeps there is no matter of ours."""

    name: str = ""
    generate_name: str = ""


class Document(Struct, frozen=True, kw_only=True, rename="camel"):
    """An object as it stands in a file."""

    kind: str
    metadata: Metadata
    spec: Workflow
