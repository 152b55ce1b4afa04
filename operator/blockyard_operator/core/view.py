"""What a reconcile of a block or a pool is given besides the objects themselves."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from blockyard.blocks.scaling import Demand
from blockyard.wire.hosted import RunLine
from blockyard.workflow.sources import ConfigMap


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What the interchange knows of a block: managers registered, workers, how many are busy, tries ended on it.

    `idle_since` in epoch seconds; None while a worker is busy.
    """

    managers: int = 0
    workers: int = 0
    busy: int = 0
    done: int = 0
    idle_since: float | None = None
    draining: bool = False


class QueueView(msgspec.Struct, frozen=True, kw_only=True):
    """What the interchange says of one of its pools; instants are epoch seconds. `loads` by the blocks' names there.

    `since`: it has said something of the pool all the time from then on.
    """

    demand: Demand
    loads: Mapping[str, Load] = {}
    since: float = 0.0


class RadioView(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub says of a pool's radio. `asked`: for what it was asked last, '' nothing, and when first (epoch).

    `radio`: the complete config that answers this, `refusal`: why there is none; both '' while there is no answer.
    `silent`: it does not answer at all now. `listens`: it has a receiver for the pool.
    """

    silent: bool = False
    asked: str = ""
    asked_at: float = 0.0
    radio: str = ""
    refusal: str = ""
    listens: bool = False


class HeldRadio(msgspec.Struct, frozen=True, kw_only=True):
    """The radio that a pool's Secret holds: for what wish it was made, '' none, and the complete config (JSON)."""

    wanted: str = ""
    radio: str = ""
    sample_seconds: float = 0.0

    def __repr__(self) -> str:
        return f"HeldRadio(wanted={self.wanted!r}, radio={'…' if self.radio else ''!r})"


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The API server would not make something of a block, or of a pool. `lasting`: no repetition will help."""

    reason: str
    message: str
    at: float
    lasting: bool
    retry_at: float = 0.0


class MapsRead(msgspec.Struct, frozen=True, kw_only=True):
    """ConfigMaps that a run takes text from, as they were read for it `at` (epoch), and how often they were."""

    maps: Mapping[str, ConfigMap]
    at: float
    tries: int = 1


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """What the interchange said of a run. `line` None: it does not know it. `refusal`: why it would not start it.

    `attempt`: the last one that it was given since the operator began.
    """

    at: float
    line: RunLine | None = None
    attempt: int = 0
    failures: tuple[FailedStep, ...] = ()
    refusal: str = ""


class FailedStep(msgspec.Struct, frozen=True):
    """A step that failed, and why."""

    step: str
    message: str


class TemplateCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What a dry run said of a pool's pods. `problem` names the field; '' when they were accepted. `at`: when."""

    hash: str
    problem: str = ""
    reason: str = ""
    at: float = 0.0
