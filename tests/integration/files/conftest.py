"""Servers to stage files from, and a cache of the tests' own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.file_servers import ftp, web

__all__ = ["cache", "ftp", "web"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A node's cache, for workers that are started from now on; what fails is tried again after a moment."""
    folder = tmp_path_factory.mktemp("files") / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLOCKYARD_FILES_CACHE", str(folder))
        patch.setenv("BLOCKYARD_FILES_BACKOFF", "0.01")
        yield folder
