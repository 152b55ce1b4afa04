"""Servers that the stagers are tested on."""

from tests.fixtures.file_servers import ftp, s3, web

__all__ = ["ftp", "s3", "web"]
