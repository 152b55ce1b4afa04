"""``python -m blockyard_interchange SETTINGS.json``: serve until SIGTERM or SIGINT.

Exit codes: 0 stopped as asked, 2 bad settings, 3 the journal is damaged or of another version, 4 the journal is in use
or was taken over by another interchange, 5 a socket cannot be bound.
"""

import gc
import logging
import signal
import sys
from pathlib import Path

from blockyard.blocks.deathsig import bind_to_parent
from blockyard.errors import BadKey, ConfigError
from blockyard_interchange import settings as settings_of
from blockyard_interchange.journal.errors import Fenced, JournalDamaged, JournalUnavailable, JournalVersion
from blockyard_interchange.journal.log import Log
from blockyard_interchange.journal.opening import open_store
from blockyard_interchange.loop import Loop

_log = logging.getLogger("blockyard_interchange")


def main(arguments: list[str]) -> int:
    """Run the program; returns its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s interchange %(levelname)s %(message)s")
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m blockyard_interchange SETTINGS.json\n")
        return 2
    try:
        settings = settings_of.read(Path(arguments[0]))
        if settings.parent:
            bind_to_parent(settings.parent)
        loop = Loop(settings, Log(open_store(settings.journal_url)))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.stop())
        # A queue of a million tasks is alive, not garbage: the collector would walk it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 50, 1000)
        loop.run()
    except (ConfigError, BadKey) as error:
        _log.error("%s", error)
        return 2
    except (JournalDamaged, JournalVersion) as error:
        _log.error("%s", error)
        return 3
    except (Fenced, JournalUnavailable) as error:
        _log.error("%s", error)
        return 4
    except OSError as error:
        _log.error("cannot listen: %s", error)
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
