"""Tells the history what a managed task runs with, its record in the size that the wire takes, and where it printed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from blockyard import this_try
from blockyard.managed.capture import Stream
from blockyard.managed.records import AnalysisConfig
from blockyard.wire.monitoring import MAX_CONFIG_BYTES, MAX_NAME, MAX_TEXT, Config, File, clipped, micros

_MOST_OUTPUTS: Final = 100
_change = msgspec.structs.replace


def tell(record: AnalysisConfig, folder: str, streams: Sequence[Stream]) -> None:
    """Tell it, if this is a task with monitoring, and at its end what it printed to files in `folder`.

    Raises OSError when the worker's manager is gone.
    """
    around = this_try.here()
    if around is None:
        return
    lease, at_us = around.lease(), micros(record.ended)
    kept = [
        File(lease.task, lease.epoch, one.name, clipped(os.path.join(folder, one.name), MAX_TEXT), size, at_us)
        for one in streams
        if at_us and (size := one.total_bytes - one.unkept_bytes)
    ]
    around.tell(config_of(record, lease.task, lease.epoch), *kept)


def tell_progress(record: AnalysisConfig) -> None:
    """Tell it how far a task is, if this is one with monitoring. That may be missed: more is to come.

    Raises OSError when the worker's manager is gone.
    """
    around = this_try.here()
    if around is not None:
        lease = around.lease()
        around.tell(far_of(record, lease.task, lease.epoch), way=this_try.Way.PASSING)


def far_of(record: AnalysisConfig, task: int, epoch: int) -> Config:
    """How far a task is, for the wire: its record without the body, which is told already and may be large. Pure."""
    return _change(config_of(_only_names(record), task, epoch), message=_message(record), body="")


def _message(record: AnalysisConfig) -> str:
    return clipped(record.message if record.ended else str(record.progress), MAX_TEXT)


def config_of(record: AnalysisConfig, task: int, epoch: int) -> Config:
    """The record for the wire. Pure."""
    fitted, text = fit(record)
    name, run, step, reason = (clipped(one, MAX_NAME) for one in (fitted.task_name, fitted.run, fitted.step,
                                                                  fitted.reason))  # fmt: skip
    return Config(
        record.id, task, epoch, name, run, step, record.status, reason, micros(record.started), micros(record.ended),
        record.exit_code, record.signal, text, _message(record),
    )  # fmt: skip


def fit(record: AnalysisConfig, most: int = MAX_CONFIG_BYTES) -> tuple[AnalysisConfig, str]:
    """The record and its JSON, of at most `most` bytes: what is least needed to run it again goes first, and what
    went is named in `left_out`. Pure."""
    encoded = msgspec.json.encode(record, enc_hook=str)
    for name, without in _LESS.items():
        if len(encoded) <= most:
            break
        less = without(record)
        if less != record:
            record = _change(less, left_out=[*record.left_out, name])
            encoded = msgspec.json.encode(record, enc_hook=str)
    return record, encoded.decode()


def _payload(record: AnalysisConfig) -> AnalysisConfig:
    return _change(record, result=_change(record.result, payload=None) if record.result else None)


def _only_names(record: AnalysisConfig) -> AnalysisConfig:
    """What is left when even the parameters are too large."""
    return AnalysisConfig(
        id=record.id, task_name=clipped(record.task_name, MAX_NAME), executor=record.executor,
        run=clipped(record.run, MAX_NAME), step=clipped(record.step, MAX_NAME), started=record.started, command=[],
        directory="", status=record.status, reason=clipped(record.reason, MAX_NAME), ended=record.ended,
        exit_code=record.exit_code, signal=record.signal, left_out=record.left_out,
    )  # fmt: skip


_LESS: Final[dict[str, Callable[[AnalysisConfig], AnalysisConfig]]] = {
    "result.payload": _payload,
    "code.git_diff": lambda one: _change(one, code=_change(one.code, git_diff="", is_clipped=True)),
    "metadata": lambda one: _change(one, metadata={}),
    "result": lambda one: _change(one, result=None),
    "parameters_schema": lambda one: _change(one, parameters_schema={}),
    "outputs": lambda one: _change(one, outputs=one.outputs[:_MOST_OUTPUTS]),
    "failures": lambda one: _change(one, failures=[]),
    "metrics": lambda one: _change(one, metrics={}),
    "environment": lambda one: _change(one, environment={}),
    "everything": _only_names,
}
