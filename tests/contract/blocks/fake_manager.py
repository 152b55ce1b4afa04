"""A manager without workers: registers its block with a `FakeEngine`, and leaves when it is told to drain.

Run as a program: `python fake_manager.py SOCKET [stubborn]`; a stubborn one ignores SIGTERM. One line goes up
(`BLOCK PID`), lines come down: `drain` ends it with exit code 0, `crash N` with exit code N. When the engine is gone
it ends with 9.
"""

import os
import signal
import socket
import sys


def main(path: str, *manner: str) -> int:
    if "stubborn" in manner:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(path)
        link.sendall(f"{os.environ['BLOCKYARD_BLOCK']} {os.getpid()}\n".encode())
        for line in link.makefile("r"):
            words = line.split()
            if words[0] == "drain":
                return 0
            if words[0] == "crash":
                return int(words[1])
    return 9


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
