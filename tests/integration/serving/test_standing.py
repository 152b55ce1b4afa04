"""What probes are told, how an interchange ends, and how another takes its place on the same PostgreSQL journal."""

import signal
import time
from pathlib import Path

import pytest

from blockyard.transport import KeyPair
from tests.fixtures.postgres import Postgres, running_postgres
from tests.integration.processes import WITHIN, look_at, stop, wait_until
from tests.integration.questions import status_of
from tests.integration.serving.house import House, a_pool, house

pytestmark = [pytest.mark.timeout(240), pytest.mark.needs_postgres]

PASSWORD = "s3cret-and-long"


def test_pools_and_their_tasks_survive_a_kill_and_need_no_keeper(tmp_path: Path, postgres: Postgres) -> None:
    with house(tmp_path) as home:
        first = home.start(_database(postgres, "killed"), wait_for_journal=60.0)
        first.wait_ready()
        keys = KeyPair.new()
        home.order(a_pool("ns.cpu", keys, durability="fsync"), home.client("keeper-operator"))
        client = home.client()
        waiting = client.options(pool="ns.cpu").submit(abs, -1)
        wait_until("it is queued", lambda: status_of(client).pools[0].queued, lambda queued: queued == 1)
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
        home.start(_database(postgres, "killed"), wait_for_journal=60.0).wait_ready()
        manager = home.manager("ns.cpu", keys)
        assert waiting.result(WITHIN) == 1
        assert manager.poll() is None


def test_sigterm_hands_the_journal_over(tmp_path: Path, postgres: Postgres) -> None:
    with house(tmp_path) as home:
        first = home.start(_database(postgres, "handed"))
        first.wait_ready()
        second = home.start(_database(postgres, "handed"), wait_for_journal=60.0)
        second.wait_to_say("waiting up to 60 s: open journal")
        assert second.probe("/readyz") == (503, "waiting for the journal\n")
        assert second.probe("/livez").code == 200
        assert first.end() == 0
        second.wait_ready()
        held = postgres.run("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted")
        assert held == "1"


def test_one_that_waits_for_the_journal_ends_when_asked(tmp_path: Path, postgres: Postgres) -> None:
    with house(tmp_path) as home:
        home.start(_database(postgres, "asked")).wait_ready()
        second = home.start(_database(postgres, "asked"), wait_for_journal=600.0)
        second.wait_to_say("waiting up to 600 s: open journal")
        assert second.end() == 0


def test_one_that_does_not_wait_says_who_holds_the_journal(tmp_path: Path, postgres: Postgres) -> None:
    with house(tmp_path) as home:
        home.start(_database(postgres, "held")).wait_ready()
        second = home.start(_database(postgres, "held"))
        assert second.wait() == 4
        assert "is held by server process" in second.said()


@pytest.mark.parametrize("busy", [True, False], ids=["with work", "at rest"])
def test_the_old_one_is_refused_when_it_is_back(tmp_path: Path, postgres: Postgres, busy: bool) -> None:
    """Cut off for longer than its lock holds, it comes back to a journal that has another writer."""
    url = _database(postgres, f"back_{busy}".lower())
    with house(tmp_path) as home:
        old = home.start(url)
        old.wait_ready()
        client = home.client("keeper-operator")
        running = look_at(old.process.pid)
        assert running is not None
        stop(running)
        postgres.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'blockyard%'"
            f" AND datname = '{url.rpartition('/')[2]}'"
        )
        new = home.start(url, wait_for_journal=60.0, clients="tcp://127.0.0.1:*", managers="tcp://127.0.0.1:*")
        new.wait_ready()
        old.process.send_signal(signal.SIGCONT)
        if busy:
            client.submit_many(abs, range(3))
        assert old.wait() == 4
        assert "another interchange" in old.said()
        assert new.probe("/readyz").code == 200


def test_a_database_that_is_away_makes_it_not_ready_and_leaves_it_live(tmp_path: Path) -> None:
    with running_postgres() as server, house(tmp_path) as home:
        one = home.start(server.url)
        one.wait_ready()
        keeper = home.client("keeper-operator")
        server.stop()
        assert "journal" in one.wait_for_probe("/readyz", 503).text
        assert one.probe("/livez").code == 200
        server.start()
        one.wait_ready()
        assert home.order(a_pool("ns.cpu", KeyPair.new()), keeper) == 1
        assert one.end() == 0


def test_a_loop_that_hangs_is_not_live() -> None:
    from blockyard_interchange.health import STUCK_SECONDS, Health

    health, now = Health(), time.monotonic()
    assert health.live(now)[0]
    assert not health.ready(now)[0]
    health.turned_at = now
    assert health.live(now + STUCK_SECONDS)[0]
    assert health.ready(now + STUCK_SECONDS)[0]
    assert not health.live(now + STUCK_SECONDS + 1)[0]
    assert not health.ready(now + STUCK_SECONDS + 1)[0]


def test_there_are_two_probes_and_no_other_page(serving: House) -> None:
    (serving.folder / "two").mkdir()
    one = serving.start(clients="tcp://127.0.0.1:*", managers="tcp://127.0.0.1:*", folder=str(serving.folder / "two"))
    one.wait_ready()
    assert one.probe("/livez").code == 200
    assert one.probe("/settings").code == 404


@pytest.mark.parametrize("place", ["file", "environment", "PGPASSWORD"])
def test_the_password_is_said_nowhere(tmp_path: Path, postgres: Postgres, place: str) -> None:
    url = _database(postgres, f"hidden_{place}".lower())
    postgres.run(
        f"DO $$ BEGIN CREATE ROLE anna LOGIN PASSWORD '{PASSWORD}'; EXCEPTION WHEN duplicate_object THEN END $$"
    )
    named = url.replace("postgres@", f"anna:{PASSWORD}@")
    with house(tmp_path) as home:
        journal, environment = {
            "file": (named, {}),
            "environment": ("postgresql://nobody@127.0.0.1:1/none", {"BLOCKYARD_INTERCHANGE_JOURNAL": named}),
            "PGPASSWORD": (url.replace("postgres@", "anna@"), {"PGPASSWORD": PASSWORD}),
        }[place]
        postgres.run("ALTER ROLE anna SUPERUSER")
        one = home.start(journal, environment)
        one.wait_ready()
        assert PASSWORD not in Path(f"/proc/{one.process.pid}/cmdline").read_text()
        assert one.end() == 0
        assert PASSWORD not in one.said()
        for wrong in (
            named.replace("127.0.0.1:", "127.0.0.1:1"),
            named.replace("@", "@@"),
            named + "?connect_timeout=x",
        ):
            bad = home.start(wrong)
            assert bad.wait() in (2, 4)
            assert PASSWORD not in bad.said()


def _database(postgres: Postgres, name: str) -> str:
    """A database of its own: all interchanges call their journal by the same name."""
    if not postgres.run(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
        postgres.run(f"CREATE DATABASE {name}")
    return postgres.url.removesuffix("postgres") + name
