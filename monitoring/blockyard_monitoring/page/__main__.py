"""``python -m blockyard_monitoring.page``: serve the page until SIGTERM or SIGINT; ``--help`` lists what it takes.

Exit codes: 0 stopped as asked, 2 bad settings, 5 cannot listen.
"""

import asyncio
import logging
import os
import signal
import sys
from contextlib import closing

from blockyard.errors import ConfigError
from blockyard_monitoring.history import History
from blockyard_monitoring.page import settings as settings_of
from blockyard_monitoring.page.pages import Pages
from blockyard_monitoring.page.printing import Printing
from blockyard_monitoring.page.server import Server
from blockyard_monitoring.page.settings import PageSettings


def main(arguments: list[str]) -> int:
    """Run the program; returns its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s page %(levelname)s %(message)s")
    try:
        asyncio.run(serve(settings_of.read(arguments, os.environ)))
    except ConfigError as error:
        sys.stderr.write(f"blockyard: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"blockyard: the page cannot listen: {error}\n")
        return 5
    return 0


async def serve(settings: PageSettings) -> None:
    """Serve until a signal. Prints the address, which has the token in it when that was made up here."""
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    with closing(History(settings.database)) as history, closing(Printing(settings.folder)) as printing:
        server = Server(settings, Pages(history, printing))
        await server.start()
        try:
            shown = server.address if settings.is_loopback else server.address.partition("?")[0]
            sys.stdout.write(f"{shown}\n")
            sys.stdout.flush()
            await ending.wait()
        finally:
            await server.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
