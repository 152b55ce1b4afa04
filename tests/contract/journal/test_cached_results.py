"""The cache on each store: another opening finds what was recorded and not what was dropped, compacted or not."""

from blockyard.wire.records import Blob, Status
from blockyard_interchange.core import caching
from tests.contract.journal.places import Place
from tests.unit.interchange.builders import Bench, Client, Manager, done


def test_another_opening_finds_what_was_recorded_and_not_what_was_dropped(place: Place) -> None:
    bench = Bench(store=place.store(), floor_bytes=1024)
    client, manager = bench.client(), bench.manager()
    for number in range(30):
        body = Blob(f"large-{number}", 100_000) if number % 10 == 0 else b"%03d" % number * 100
        client.collect(_compute(bench, client, manager, number, body))
    for key in [key for key in bench.state.cache.results if int(key[1]) % 3 == 1]:
        caching._drop(bench.state, [key])
    for _ in range(10):  # each commit compacts a little
        client.collect(_compute(bench, client, manager, 0, b""))
    bench.turn()
    before = {key: (one.body, one.at, one.function) for key, one in bench.state.cache.results.items()}
    assert len(before) == 20
    bench.store.close()
    bench.store = place.store()
    bench._start()
    found = {key: (one.body, one.at, one.function) for key, one in bench.state.cache.results.items()}
    assert list(found.items()) == list(before.items()), "oldest first, as before"
    client = bench.client(2)
    (hit,) = client.call(memos=[[b"20"]])
    bench.turn()
    assert [(one.task, one.status, one.body) for one in client.outcomes()] == [
        (hit, Status.DONE, Blob("large-20", 100_000))
    ]
    bench.store.close()


def _compute(bench: Bench, client: Client, manager: Manager, number: int, body: bytes | Blob) -> list[int]:
    tasks = client.call(memos=[[b"%d" % number]])
    bench.turn()
    manager.report(*(done(one, body) for one in manager.assigned()))
    bench.turn()
    client.outcomes()
    return tasks
