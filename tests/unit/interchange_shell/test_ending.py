"""A signal ends an interchange at once, also one that has nothing to do for long."""

import json
import signal
import time
from pathlib import Path

import pytest

from blockyard_interchange import loop, settings
from blockyard_interchange.health import Health
from blockyard_interchange.journal import open_store
from blockyard_interchange.journal.log import Log
from blockyard_interchange.shutdown import Ending

REST_SECONDS = 60.0


def test_who_waits_does_not_wait_on_after_a_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_KEYS_SECONDS", 10 * REST_SECONDS)
    file = tmp_path / "interchange.json"
    file.write_text(
        json.dumps({"folder": str(tmp_path), "journal": "memory:", "core": {"heartbeat": 40 * REST_SECONDS}})
    )
    ending = Ending()
    log = Log(open_store("memory:"))
    log.open()
    one = loop.Loop(settings.read(file, {}), log, ending, Health())
    before = signal.signal(signal.SIGALRM, lambda *_: ending.ask())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        began = time.monotonic()
        one.run()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began < REST_SECONDS, "it ended when it would have looked around anyway"
