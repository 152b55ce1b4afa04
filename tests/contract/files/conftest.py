"""Servers that the stagers are tested on."""

from tests.fixtures.file_servers import ftp, web

__all__ = ["ftp", "web"]
