"""Large bodies of peers on other machines: kept as blobs here, written out again for who cannot read the folder.

The core only ever sees small bodies and the names of blobs, so what it holds in memory does not depend on where a body
came from. Near peers write and read the blobs themselves; for them nothing here is called.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

import msgspec

from blockyard.blobs import BlobFolder
from blockyard.errors import BlobMissing, BlobsFull, ConfigError
from blockyard.wire import client, manager
from blockyard.wire.records import Assigned, Blob, Body, Bundle, Calls, Group, Need, Outcome
from blockyard_interchange.complaints import Complaints

_log = logging.getLogger(__name__)
_kept, _gone = Complaints(_log), Complaints(_log)

M = TypeVar("M")
Change = Callable[[Body], Body]


def spilled(message: M, blobs: BlobFolder, threshold: int) -> M:
    """A message from afar with its bodies of at least `threshold` bytes put into the folder.

    What finds no room there, or cannot be written, stays as it is: in memory and in the journal.
    """

    def spill(body: Body) -> Body:
        if type(body) is not bytes or len(body) < threshold:
            return body
        try:
            blob = blobs.create(body)
        except (BlobsFull, OSError, ConfigError) as error:
            _kept.add("a body of %d bytes is kept in memory: %s", len(body), error)
            return body
        return Blob(blob.name, blob.size_bytes)

    return _changed(message, spill)


def inlined(message: M, blobs: BlobFolder) -> M:
    """A message for afar with blobs written out. One whose file is gone stays a name, of which its reader complains."""

    def inline(body: Body) -> Body:
        match body:
            case Blob():
                try:
                    return bytes(blobs.open(body.name))
                except BlobMissing as error:
                    _gone.add("%s", error)
                    return body
            case Bundle():
                return Bundle([inline(part) for part in body.parts])
        return body

    return _changed(message, inline)


def _changed(message: M, change: Change) -> M:
    match message:
        case client.Submit():
            return msgspec.structs.replace(message, groups=[_group(group, change) for group in message.groups])
        case client.Put():
            return msgspec.structs.replace(message, body=change(message.body))
        case client.Outcomes() | manager.Outcomes():
            return msgspec.structs.replace(message, outcomes=[_outcome(one, change) for one in message.outcomes])
        case manager.Assign():
            groups = [
                msgspec.structs.replace(group, tasks=[_assigned(one, change) for one in group.tasks])
                for group in message.groups
            ]
            return msgspec.structs.replace(message, groups=groups)
    return message


def _group(group: Group, change: Change) -> Group:
    given = [_need(need, change) for need in group.given]
    return msgspec.structs.replace(group, bodies=[change(body) for body in group.bodies], given=given)


def _need(need: Need, change: Change) -> Need:
    return need if need.body is None else Need(need.task, change(need.body))


def _assigned(one: Assigned, change: Change) -> Assigned:
    needs = [_need(need, change) for need in one.needs]
    return msgspec.structs.replace(one, body=change(one.body), needs=needs)


def _outcome(one: Outcome, change: Change) -> Outcome:
    calls = one.calls
    if calls is not None:
        calls = Calls([_group(group, change) for group in calls.groups], calls.functions)
    return msgspec.structs.replace(one, body=change(one.body), calls=calls)
