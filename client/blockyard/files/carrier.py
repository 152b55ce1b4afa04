"""The one place that knows fsspec, which carries HTTP and S3; what it raises becomes what a stager raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from blockyard.errors import ConfigError
from blockyard.files.port import Refused

CONNECT_SECONDS: Final = 30.0
READ_SECONDS: Final = 60.0
"""Longest silence of a server."""
_CHUNK_BYTES: Final = 8 * 1024 * 1024
_NOT_FOUND: Final = (404, 410)
_NOT_ALLOWED: Final = (401, 403, 407)
_LATER: Final = (408, 421, 425, 429)
"""Answers of HTTP that mean: not now."""
_MOST_SAID: Final = 200
"""Characters of what a server says."""
_NO_CREDENTIALS: Final = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "ProfileNotFound",
)
"""botocore's, which only s3fs imports."""


def http() -> Any:
    """The file system of ``http://`` and ``https://``; proxies are the environment's, passwords may be ~/.netrc's."""
    with _installed("http", "files"):
        import aiohttp
        import fsspec

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
        return fsspec.filesystem(
            "http",
            headers={"Accept-Encoding": "identity"},
            client_kwargs={"timeout": timeout, "trust_env": True},
            use_listings_cache=False,
        )


def s3() -> Any:
    """The file system of ``s3://``; who and where is said by the variables of AWS, and of fsspec (FSSPEC_S3_…)."""
    with _installed("s3", "s3"):
        import fsspec

        return fsspec.filesystem("s3", use_listings_cache=False)


def copy_out(opened: Any, into: Any) -> None:
    """Everything from a file that a file system has opened."""
    while chunk := opened.read(_CHUNK_BYTES):
        into.write(chunk)


@contextmanager
def _installed(scheme: str, extra: str) -> Iterator[None]:
    try:
        yield
    except ImportError as missing:
        raise ConfigError(
            f"{scheme}:// needs packages that are not installed where the task runs ({missing}): "
            f"pip install 'blockyard[{extra}]'"
        ) from missing


@contextmanager
def translated_http() -> Iterator[None]:
    """Within it, refusals are raised as a stager raises them; see `Stager`."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - fsspec says of whatever hindered it that there is no file
        found = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ is not None else error
        raise _of_http(found) from None


@contextmanager
def translated_s3() -> Iterator[None]:
    """The same for S3, whose refusals s3fs knows but for one."""
    try:
        yield
    except Exception as error:
        if type(error).__name__ in _NO_CREDENTIALS:
            raise PermissionError(str(error)) from error
        raise


def _of_http(found: BaseException) -> BaseException:
    status = getattr(found, "status", None)
    message = str(getattr(found, "message", ""))
    if isinstance(found, TimeoutError):
        return TimeoutError(f"the server was silent for {READ_SECONDS:g} s")
    if not isinstance(status, int):
        return found
    if status == 0:  # aiohttp's, of what was sent on and on
        return Refused("it redirects again and again")
    if found.__cause__ is not None:  # aiohttp's own words on an answer, and what stood there
        return OSError(f"what the server sent is not HTTP: {message.partition(chr(10))[0][:_MOST_SAID]}")
    return _of_status(status, message)


def _of_status(status: int, message: str) -> OSError:
    text = f"HTTP {status} {message[:_MOST_SAID]}".strip()
    if status in _NOT_FOUND:
        return FileNotFoundError(text)
    if status in _NOT_ALLOWED:
        return PermissionError(text)
    if 400 <= status < 500 and status not in _LATER:
        return Refused(text)
    return OSError(text)
