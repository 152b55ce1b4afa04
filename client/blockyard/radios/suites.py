"""What every radio must do: tests that its author runs on his own, and that we run on all that are registered.

    import pytest
    from blockyard.radios.suites import RadioSuite
    from my_package import PigeonRadio

    class TestPigeonRadio(RadioSuite):
        @pytest.fixture
        def make(self):
            return PigeonRadio

`make` returns a fresh config. Class attributes say what is promised: `is_reliable` (everything arrives, once or more
often, also when the bus has no room for a while), `crosses_processes`. This module does not import pytest.
"""

import copy
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final, TypeAlias

from blockyard.radios.config import Arrival, RadioConfig, RadioMisuse, RadioReceiver, RadioSender, from_json, to_json
from blockyard.wire.monitoring import MAX_TEXT, AnyRecord, Event, File, Run

WITHIN: Final = 20.0
AT: Final = 1_795_000_000.0
Make: TypeAlias = Callable[[], RadioConfig]

_OTHER_PROCESS: Final = """
import sys
from blockyard.radios import from_json
from blockyard.radios.suites import AT, a_file
sender = from_json(sys.stdin.buffer.read()).create_sender("manager:other")
for number in range(int(sys.argv[1])):
    sender.send([a_file(number)], at=AT)
sender.close()
"""


def a_file(number: int) -> File:
    """A record that must not be dropped, and can be told from others."""
    return File(1 << 32, 1, "output", f"/tmp/{number}")


class CollectingBus:
    """A bus that keeps what arrives, stores it at once, and can be made to have no room."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.refused: Counter[str] = Counter()
        self.has_room = True
        self._changed = threading.Condition()

    def put(self, arrival: Arrival) -> bool:
        """See `Arrivals`."""
        with self._changed:
            if not self.has_room:
                return False
            self.arrivals.append(arrival)
            self._changed.notify_all()
        if arrival.on_stored is not None:
            arrival.on_stored()
        return True

    def refuse(self, radio: str, reason: str) -> None:
        """See `Arrivals`."""
        with self._changed:
            self.refused[reason] += 1
            self._changed.notify_all()

    def wait(self, is_there: Callable[[], bool], what: str, within: float = WITHIN) -> None:
        """Wait until something holds; fails with what arrived."""
        with self._changed:
            deadline = time.monotonic() + within
            while not is_there():
                left = deadline - time.monotonic()
                assert left > 0, f"{what}: {len(self.arrivals)} messages came, refused were {dict(self.refused)}"
                self._changed.wait(min(left, 0.1))

    def records(self) -> list[AnyRecord]:
        """All that arrived, each message once."""
        packets = {(one.packet.source, one.packet.number): one.packet for one in self.arrivals}
        return [record for packet in packets.values() for record in packet.records]


class RadioSuite:
    """Fixture `make`: a function that makes a fresh config."""

    is_reliable: ClassVar[bool] = True
    crosses_processes: ClassVar[bool] = True
    is_for_workers: ClassVar[bool] = True
    """False: whoever can make a sender may say anything, as within one process."""

    def test_it_is_registered_under_its_name_and_travels_as_json(self, make: Make) -> None:
        config = make()
        assert config.kind
        assert from_json(to_json(config)) == config

    def test_it_tells_who_takes_its_steps_out_of_order(self, make: Make) -> None:
        config = make()
        if not config.has_receiver:
            return
        assert "create_receiver first" in _misuse(lambda: config.create_sender("manager:1"))
        with _listening(config) as (receiver, _):
            assert "good for one" in _misuse(
                lambda: config.create_receiver(run_dir=Path(tempfile.gettempdir()), bus=CollectingBus())
            )
            sender = config.create_sender("manager:1")
            sender.close()
            sender.close()
            assert "closed" in _misuse(lambda: sender.send([a_file(1)], at=AT))
            receiver.shutdown()
            receiver.shutdown()
        assert "shut down" in _misuse(lambda: config.create_sender("manager:1"))

    def test_it_does_not_show_its_secrets(self, make: Make) -> None:
        config = make()
        with _listening(config):
            hidden = [str(getattr(config, name)) for name in config.secrets]
            assert not any(secret and secret in repr(config) for secret in hidden)

    def test_messages_arrive_as_they_were_sent_with_their_numbers(self, make: Make) -> None:
        config = make()
        with _listening(config) as (_, bus):
            sender = _copied(config).create_sender("manager:1")
            for number in range(20):
                assert sender.send([a_file(number), a_file(-number)], at=AT)
            bus.wait(lambda: len(bus.records()) >= 40, "20 messages")
            sender.close()
            found = {one.packet.number: list(one.packet.records) for one in bus.arrivals}
            assert found == {number + 1: [a_file(number), a_file(-number)] for number in range(20)}
            assert {one.packet.source for one in bus.arrivals} == {sender.source}
            assert {one.radio for one in bus.arrivals} == {config.kind}

    def test_what_was_sent_before_close_arrives(self, make: Make) -> None:
        config = make()
        with _listening(config) as (receiver, bus):
            sender = config.create_sender("manager:1")
            sent = sum(sender.send([a_file(number)], at=AT) for number in range(50))
            sender.close()
            if self.is_reliable:
                bus.wait(lambda: len(bus.records()) >= sent, "50 messages of a sender that closed")
            receiver.shutdown()
            assert not self.is_reliable or len(bus.records()) == sent == 50

    def test_any_number_of_senders_may_send_at_once(self, make: Make) -> None:
        config = make()
        with _listening(config) as (_, bus):
            senders = [config.create_sender(f"manager:{place}") for place in range(5)]
            threads = [threading.Thread(target=_send_some, args=(sender, 40)) for sender in senders]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if self.is_reliable:
                bus.wait(lambda: len(bus.records()) >= 200, "200 messages of 5 senders")
            for sender in senders:
                sender.close()
            assert len({sender.source for sender in senders}) == 5

    def test_a_large_message_arrives_whole_or_the_sender_says_no(self, make: Make) -> None:
        config = make()
        with _listening(config) as (_, bus):
            sender = config.create_sender("manager:1")
            large = [Event(int(AT * 1e6) + number, "test", "s", "x" * MAX_TEXT) for number in range(100)]
            if sender.send(large, at=AT):
                bus.wait(lambda: len(bus.records()) >= 100, "a message of 400 KB")
                assert bus.records() == large
            else:
                assert sender.failed == 1
            assert sender.send([a_file(1)], at=AT), "smaller ones go on"
            bus.wait(lambda: a_file(1) in bus.records(), "a message after a large one")
            sender.close()

    def test_what_has_no_room_is_not_lost(self, make: Make) -> None:
        config = make()
        if not self.is_reliable:
            return
        with _listening(config) as (_, bus):
            bus.has_room = False
            sender = config.create_sender("manager:1")
            thread = threading.Thread(target=_send_some, args=(sender, 30))
            thread.start()
            time.sleep(0.3)  # the length of a hub's pause: what is seen is that the messages come after it
            bus.has_room = True
            thread.join()
            bus.wait(lambda: len(bus.records()) >= 30, "30 messages after a pause of the bus")
            sender.close()

    def test_a_receiver_that_is_started_again_hears_the_senders_of_before(self, make: Make) -> None:
        config = make()
        if not (self.is_reliable and self.crosses_processes):
            return
        with tempfile.TemporaryDirectory(prefix="radio-") as name:
            folder, first, second = Path(name), CollectingBus(), CollectingBus()
            receiver = config.create_receiver(run_dir=folder, bus=first)
            ready = _copied(config)
            sender = ready.create_sender("manager:1")
            sender.send([a_file(1)], at=AT)
            first.wait(lambda: a_file(1) in first.records(), "a message to the first receiver")
            receiver.shutdown()
            assert sender.send([a_file(2)], at=AT)
            receiver = from_json(to_json(ready)).again().create_receiver(run_dir=folder, bus=second)
            second.wait(lambda: a_file(2) in second.records(), "a message to the second receiver")
            sender.close()
            receiver.shutdown()

    def test_a_sender_may_live_in_another_process(self, make: Make) -> None:
        config = make()
        with _listening(config) as (_, bus):
            done = subprocess.run(
                [sys.executable, "-c", _OTHER_PROCESS, "25"],
                input=to_json(config),
                capture_output=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)},
                timeout=WITHIN,
                check=False,
            )
            if not self.crosses_processes:
                assert b"RadioMisuse" in done.stderr, "it must say that it can't"
                return
            assert done.returncode == 0, done.stderr.decode(errors="replace")
            if self.is_reliable:
                bus.wait(lambda: len(bus.records()) >= 25, "25 messages of another process")

    def test_what_no_worker_may_say_is_refused(self, make: Make) -> None:
        config = make()
        with _listening(config) as (_, bus):
            sender = config.create_sender("manager:1")
            sender.send([Run(1, "forged")], at=AT)
            sender.send([a_file(1)], at=AT)
            bus.wait(lambda: a_file(1) in bus.records(), "what it may say")
            sender.close()
            if self.is_for_workers:
                assert not any(isinstance(record, Run) for record in bus.records())
                assert bus.refused["malformed"] == 1

    def test_nothing_is_left_of_it(self, make: Make) -> None:
        with _listening(make()):  # whatever is made once a process
            pass
        before = _left()
        config = make()
        with _listening(config) as (_, bus):
            sender = config.create_sender("manager:1")
            sender.send([a_file(1)], at=AT)
            bus.wait(lambda: bool(bus.arrivals), "a message")
            sender.close()
        deadline = time.monotonic() + WITHIN
        while _left() != before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert _left() == before, "threads and descriptors before and after"


@contextmanager
def _listening(config: RadioConfig) -> Iterator[tuple[RadioReceiver, CollectingBus]]:
    bus = CollectingBus()
    with tempfile.TemporaryDirectory(prefix="radio-") as folder:
        receiver = config.create_receiver(run_dir=Path(folder), bus=bus)
        try:
            yield receiver, bus
        finally:
            receiver.shutdown()


def _copied(config: RadioConfig) -> RadioConfig:
    """As it comes out of a pickle."""
    return copy.deepcopy(config)


def _misuse(step: Callable[[], object]) -> str:
    try:
        step()
    except RadioMisuse as error:
        return str(error)
    raise AssertionError("a step out of order was allowed")


def _send_some(sender: RadioSender, count: int) -> None:
    for number in range(count):
        while not sender.send([a_file(number)], at=AT):
            time.sleep(0.01)


def _left() -> tuple[Sequence[str], int]:
    return sorted(thread.name for thread in threading.enumerate()), len(os.listdir("/proc/self/fd"))
