"""Radios: ways for monitoring messages to travel from a source to the hub.

A `RadioConfig` lives in stages: made → `create_receiver` once, on the hub's side → it travels (pickle, JSON) →
`create_sender` any number of times, anywhere → `send` → `close`, and at the end the receiver's `shutdown`. Here are the
configs and the senders; receivers are `blockyard_monitoring.radios`'. Others register theirs by entry point, see
``docs/monitoring.md``.
"""

from blockyard.radios.config import (
    Arrival,
    Arrivals,
    RadioConfig,
    RadioMisuse,
    RadioReceiver,
    RadioSender,
    Stage,
    from_json,
    to_json,
)
from blockyard.radios.filesystem import FilesystemRadio
from blockyard.radios.interchange import InterchangeRadio
from blockyard.radios.thread import ThreadRadio
from blockyard.radios.udp import UdpRadio
from blockyard.radios.zmq import ZmqRadio

__all__ = [
    "Arrival", "Arrivals", "RadioConfig", "RadioMisuse", "RadioReceiver", "RadioSender", "Stage", "from_json",
    "to_json",
    "FilesystemRadio", "InterchangeRadio", "ThreadRadio", "UdpRadio", "ZmqRadio",
]  # fmt: skip
