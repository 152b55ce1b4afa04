"""``python -m blockyard_interchange SETTINGS.json [--await-stdin]``: serve until SIGTERM or SIGINT.

With ``--await-stdin`` the settings are read when a byte came on standard input, or its end: who starts it may still be
writing them, while this process imports what it needs.

Exit codes: 0 stopped as asked, 1 an error that nobody thought of, which another start may mend, 2 bad settings, 3 the
journal is damaged or of another version, 4 the journal is in use or was taken over by another interchange, 5 a socket
cannot be bound.
"""

import contextlib
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from blockyard.blocks.deathsig import bind_to_parent
from blockyard.errors import BadKey, ConfigError
from blockyard.transport import descriptors
from blockyard_interchange import settings as settings_of
from blockyard_interchange.health import Health
from blockyard_interchange.journal.errors import Fenced, JournalDamaged, JournalFull, JournalUnavailable, JournalVersion
from blockyard_interchange.journal.log import Log
from blockyard_interchange.journal.opening import open_store
from blockyard_interchange.loop import Loop
from blockyard_interchange.settings import ProcessSettings
from blockyard_interchange.shutdown import Ending

if TYPE_CHECKING:
    from blockyard.probes import Probes

_log = logging.getLogger("blockyard_interchange")

_RETRY_SECONDS = 0.5


class _CannotListenError(Exception):
    """A socket cannot be bound; what the system refuses later, when it serves, is another matter."""


def main(arguments: list[str]) -> int:
    """Run the program; returns its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s interchange %(levelname)s %(message)s")
    if not arguments or arguments[1:] not in ([], ["--await-stdin"]):
        sys.stderr.write("usage: python -m blockyard_interchange SETTINGS.json [--await-stdin]\n")
        return 2
    if arguments[1:]:
        os.read(0, 1)
    try:
        settings = settings_of.read(Path(arguments[0]), os.environ)
        if settings.parent:
            bind_to_parent(settings.parent)
        descriptors.allow_all()
        _serve(settings)
    except (ConfigError, BadKey) as error:
        _log.error("%s", error)
        return 2
    except (JournalDamaged, JournalVersion) as error:
        _log.error("%s", error)
        return 3
    except (Fenced, JournalUnavailable) as error:
        _log.error("%s", error)
        return 4
    except _CannotListenError as error:
        _log.error("cannot listen: %s", error)
        return 5
    return 0


def _serve(settings: ProcessSettings) -> None:
    ending = Ending()
    # Before anything that takes long: process 1 of a container has no default for these.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.ask())
    health = Health()
    with _binding():
        probes = _open_probes(health, settings.health)
    try:
        log = Log(open_store(settings.journal_url))
        if not _open(log, settings.wait_for_journal, health, ending):
            return
        health.stage = "replaying the journal"
        with _binding():
            loop = Loop(settings, log, ending, health)
        # A queue of a million tasks is alive, not garbage: the collector would walk it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(1_000_000, 50, 1000)
        loop.run()
    finally:
        if probes is not None:
            probes.close()


@contextlib.contextmanager
def _binding() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _CannotListenError(str(error)) from error


def _open_probes(health: Health, endpoint: str) -> "Probes | None":
    host, port = settings_of.address("health", endpoint)
    if not endpoint:
        return None
    from blockyard.probes import Probes  # costs nothing to those who do not use it

    answers = {"/livez": lambda: health.live(time.monotonic()), "/readyz": lambda: health.ready(time.monotonic())}
    probes = Probes(answers, host, port)
    probes.start()
    return probes


def _open(log: Log, patience: float, health: Health, ending: Ending) -> bool:
    """Open the journal, waiting so long for it; False when asked to end meanwhile. Raises JournalUnavailable.

    For room on its disk it waits as long as it takes, as one that runs does: what is in the journal is not given up.
    """
    deadline = time.monotonic() + patience
    while not ending.is_asked:
        try:
            log.open()
        except (JournalUnavailable, JournalFull) as error:
            is_full = isinstance(error, JournalFull)
            if not is_full and time.monotonic() >= deadline:
                raise
            if health.stage != "waiting for the journal":
                health.stage = "waiting for the journal"
                _log.warning("waiting%s: %s", "" if is_full else f" up to {patience:g} s", error)
            time.sleep(_RETRY_SECONDS)
        else:
            return True
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
