"""Files of FTP servers, by the standard library."""

from __future__ import annotations

import contextlib
import ftplib
import secrets
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final
from urllib.parse import unquote, urlsplit

from blockyard.files import pace, urls
from blockyard.files.port import Found, Refused

_CHUNK_BYTES: Final = 1024 * 1024
_SENT_BYTES: Final = pace.LEAST_BYTES
"""Python's timeout is of sending all of one piece."""
_UNKNOWN_COMMAND: Final = ("500", "502")


class FtpStager:
    """``ftp://[USER[:PASSWORD]@]HOST[:PORT]/path``, from the user's folder on; ``%2F`` begins at the root."""

    writes = True

    def place(self, url: str) -> Path | None:
        """See `Stager`."""
        return None

    def look(self, url: str) -> Found:
        """See `Stager`."""
        with _connection(url) as (ftp, path):
            ftp.voidcmd("TYPE I")
            # RFC 3659 is younger than many servers: what they have is not kept, and seen to be whole by their answer.
            size_bytes, changed = None, ""
            try:
                size_bytes = ftp.size(path)
                changed = ftp.sendcmd(f"MDTM {path}")[4:].strip()
            except ftplib.error_perm as error:
                if str(error)[:3] not in _UNKNOWN_COMMAND:
                    raise
        return Found(size_bytes, f"{changed} {size_bytes}" if changed else "")

    def fetch(self, url: str, into: BinaryIO) -> None:
        """See `Stager`."""
        with _connection(url) as (ftp, path):
            at = pace.Pace()

            def take(piece: bytes) -> None:
                into.write(piece)
                at.moved(len(piece))

            ftp.retrbinary(f"RETR {path}", take, _CHUNK_BYTES)

    def store(self, path: Path, url: str) -> None:
        """See `Stager`. Folders on the way are made."""
        with _connection(url) as (ftp, target):
            folders = PurePosixPath(target).parents
            for folder in reversed(folders[:-1]):
                with contextlib.suppress(ftplib.error_perm):  # it is there; or the next command says why not
                    ftp.mkd(str(folder))
            draft = str(PurePosixPath(target).with_name(f".blockyard-{secrets.token_hex(8)}.part"))
            try:
                with path.open("rb") as source:
                    ftp.storbinary(f"STOR {draft}", source, _SENT_BYTES)
                ftp.rename(draft, target)
            except BaseException:
                with contextlib.suppress(ftplib.Error, OSError, EOFError):
                    ftp.delete(draft)
                raise


class _Ftp(ftplib.FTP):
    """Its server has as long for a whole answer as it may be silent, though it sends it byte by byte."""

    def getmultiline(self) -> str:
        """See `ftplib.FTP`. Raises Stalled."""
        self._answer_by = time.monotonic() + pace.SILENT_SECONDS
        return super().getmultiline()

    def getline(self) -> str:
        """See `ftplib.FTP`."""
        assert self.sock is not None
        line = bytearray()
        while not line.endswith(b"\n"):
            if time.monotonic() >= self._answer_by:
                raise pace.stalled()
            if not (byte := self.sock.recv(1)):
                raise EOFError
            line += byte
            if len(line) > self.maxline:
                raise ftplib.error_reply(f"a line of more than {self.maxline} bytes")
        return line.decode(self.encoding).rstrip("\r\n")


@contextlib.contextmanager
def _connection(url: str) -> Iterator[tuple[ftplib.FTP, str]]:
    parts = urlsplit(url)
    path = urls.host_and_path(url)[1][1:]
    if any(ord(letter) < 32 for letter in path):
        raise Refused("its path holds control characters, which FTP has no way to say")
    ftp = _Ftp(timeout=pace.SILENT_SECONDS, encoding="utf-8")
    try:
        ftp.connect(parts.hostname or "", parts.port or ftplib.FTP_PORT)
        ftp.login(unquote(parts.username or ""), unquote(parts.password or ""))
        yield ftp, path
        with contextlib.suppress(ftplib.Error, OSError, EOFError):  # what was wanted has been done
            ftp.quit()
    except ftplib.error_perm as error:
        raise _refusal(str(error)) from error
    except TimeoutError as error:
        raise error if isinstance(error, pace.Stalled) else pace.stalled() from error
    except EOFError as error:
        raise ConnectionError("the server hung up") from error
    finally:
        ftp.close()


def _refusal(answer: str) -> OSError:
    match answer[:3]:
        case "550":
            return FileNotFoundError(answer)
        case "530" | "532":
            return PermissionError(answer)
        case _:
            return Refused(answer)
