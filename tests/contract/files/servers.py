"""Servers of FTP and S3 for the tests, as processes of their own on loopback."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER, PASSWORD = "reader", "p@ss word/1"

_FTP = """
import sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer
authorizer = DummyAuthorizer()
authorizer.add_user(sys.argv[2], sys.argv[3], sys.argv[1], perm="elradfmwMT")
FTPHandler.authorizer = authorizer
server = FTPServer(("127.0.0.1", 0), FTPHandler)
print("listening", server.address[1], flush=True)
server.serve_forever()
"""

_S3 = """
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
print("listening", server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def ftp_server(folder: Path) -> Iterator[int]:
    """An FTP server for a folder, which `USER` comes into; its port."""
    with _server(_FTP, str(folder), USER, PASSWORD) as port:
        yield port


@contextmanager
def s3_server() -> Iterator[int]:
    """An S3 without buckets; its port."""
    with _server(_S3) as port:
        yield port


@contextmanager
def _server(program: str, *arguments: str) -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("listening "), f"the server said {line!r} and ended with {process.poll()}"
            yield int(line.split()[1])
        finally:
            process.kill()
