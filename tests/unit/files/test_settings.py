"""How files are staged is said by variables, of which a wrong one is named."""

from pathlib import Path

import pytest

from blockyard.errors import ConfigError
from blockyard.files import settings


def test_variables_are_read() -> None:
    found = settings.read(
        {
            "BLOCKYARD_FILES_CACHE": "/big/cache",
            "BLOCKYARD_FILES_CACHE_BYTES": "2Ki",
            "BLOCKYARD_FILES_TRANSFERS": "9",
            "BLOCKYARD_FILES_TRIES": "1",
            "BLOCKYARD_FILES_BACKOFF": "0.25",
            "BLOCKYARD_FILES_CLAIMS": "/mnt, data=/data",
            "OTHER": "x",
        }
    )
    assert (found.cache, found.cache_bytes, found.transfers, found.tries) == (Path("/big/cache"), 2048, 9, 1)
    assert found.backoff == 0.25
    assert found.mount_of("data") == Path("/data")
    assert found.mount_of("other") == Path("/mnt/other")
    assert settings.read({}).mount_of("other") == Path("/pvc/other")


@pytest.mark.parametrize(
    "name, text, sentence",
    [
        ("CACHE_BITES", "1", r"BLOCKYARD_FILES_CACHE_BITES: unknown; did you mean 'CACHE_BYTES'"),
        ("CACHE_BYTES", "much", r"BLOCKYARD_FILES_CACHE_BYTES='much'"),
        ("TRANSFERS", "0", "from 1 to 1000"),
        ("TRIES", "-1", "from 1 to 1000"),
        ("BACKOFF", "soon", r"BLOCKYARD_FILES_BACKOFF='soon'"),
        ("BACKOFF", "nan", "from 0 to 3600"),
        ("CLAIMS", "data", "CLAIM=/absolute/path"),
        ("CLAIMS", "=/data", "CLAIM=/absolute/path"),
    ],
)
def test_a_wrong_one_is_named(name: str, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        settings.read({f"BLOCKYARD_FILES_{name}": text})
