"""The one place that knows fsspec, which carries HTTP and S3; what it raises becomes what a stager raises."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from blockyard.errors import ConfigError
from blockyard.files import pace
from blockyard.files.pace import Stalled
from blockyard.files.port import Refused

_LEAST_STORED: Final = 16 * 1024
"""Bytes a second: a server of S3 says nothing before a file, or 50 MiB of it, is there."""
_CHUNK_BYTES: Final = 1024 * 1024
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
_SILENT: Final = ("ReadTimeoutError", "ConnectTimeoutError")
"""The same, and no TimeoutError to Python."""


def http() -> Any:
    """The file system of ``http://`` and ``https://``; proxies are the environment's, passwords may be ~/.netrc's."""
    with _installed("http", "files"):
        import aiohttp
        import fsspec

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=pace.CONNECT_SECONDS, sock_read=pace.SILENT_SECONDS)
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

        given = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
        files = fsspec.filesystem(
            "s3",
            use_listings_cache=False,
            skip_instance_cache=True,  # a task's own may try again
            config_kwargs={
                **given,
                "connect_timeout": pace.CONNECT_SECONDS,
                "read_timeout": pace.SILENT_SECONDS,
                "retries": {"total_max_attempts": 1},
            },
        )
        files.retries = 1  # s3fs's, around botocore's; `transfers` is who tries again
        return files


def look(files: Any, url: str, **options: bool) -> dict[str, Any]:
    """What a file system says of a URL, in the time that a server may be silent. Raises what it raises, Stalled."""
    found: dict[str, Any] = _run(files, lambda: asyncio.wait_for(files._info(url, **options), pace.SILENT_SECONDS))
    return found


def fetch_http(files: Any, url: str, into: BinaryIO) -> None:
    """The whole file. Raises what fsspec raises, and Stalled when too little comes of it."""
    from fsspec.callbacks import Callback

    came = Callback()
    _run(files, lambda: _watched(files._get_file(url, into, callback=came), lambda: came.value))


def fetch_s3(files: Any, url: str, into: BinaryIO) -> None:
    """The same for S3, by one request: what is read are the bytes of one object."""
    bucket, key, version = files.split_path(url)
    came = 0

    async def get() -> None:
        nonlocal came
        named = {"VersionId": version} if version else {}
        answer = await files._call_s3("get_object", Bucket=bucket, Key=key, **named)
        body = answer["Body"]
        try:
            while chunk := await body.read(_CHUNK_BYTES):
                into.write(chunk)
                came += len(chunk)
        finally:
            body.close()

    _run(files, lambda: _watched(get(), lambda: came))


def store_s3(files: Any, path: Path, url: str) -> None:
    """Put a file there, in a time that its size allows for. Raises what s3fs raises, Stalled."""
    seconds = pace.SILENT_SECONDS + path.stat().st_size / _LEAST_STORED
    _run(files, lambda: asyncio.wait_for(files._put_file(str(path), url), seconds))


def _run(files: Any, work: Callable[[], Awaitable[Any]]) -> Any:
    from fsspec.asyn import sync

    try:
        return sync(files.loop, work)
    except TimeoutError as error:
        raise _stalled(error.__cause__) from error


def _stalled(error: BaseException | None) -> Stalled:
    return error if isinstance(error, Stalled) else pace.stalled()


async def _watched(work: Awaitable[None], count: Callable[[], int]) -> None:
    """Wait for it as long as enough comes. A server that sends byte by byte is never silent, so that no timeout of the
    socket ends it."""
    task = asyncio.ensure_future(work)
    try:
        before = 0
        while not (await asyncio.wait({task}, timeout=pace.SILENT_SECONDS))[0]:
            if count() - before < pace.LEAST_BYTES:
                raise pace.stalled(count() - before)
            before = count()
        await task
    finally:
        task.cancel()


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
        if type(error).__name__ in _SILENT:
            raise pace.stalled() from error
        raise


def _of_http(found: BaseException) -> BaseException:
    status = getattr(found, "status", None)
    message = str(getattr(found, "message", ""))
    if isinstance(found, TimeoutError):
        return _stalled(found)
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
