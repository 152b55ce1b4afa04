"""Web servers that answer what no server should: what is wrong is said, and whether it may be tried again."""

import io
import socketserver
import threading
from collections.abc import Iterator

import pytest

from blockyard.files import pace
from blockyard.files.port import Refused
from blockyard.files.stagers.web import HttpStager
from blockyard.files.transfers import FINAL

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n"
ELSEWHERE = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\n"
ANSWERS = {
    "loops": ELSEWHERE + b"Location: /loops\r\n\r\n",
    "to-a-path": ELSEWHERE + b"Location: file:///etc/hostname\r\n\r\n",
    "sends-more": OK + b"Connection: close\r\n\r\n0123456789" + b"SECRET" * 10_000,
    "sends-less": OK + b"\r\n01234",
    "is-none": b"\0\1 what is this\r\n\r\n",
    "breaks-off-a-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01",
    "hangs-up": b"",
    "is-silent": OK + b"\r\n0",
}


class _Answer(socketserver.StreamRequestHandler):
    """Says what its path stands for, and ends; or waits for the other side to."""

    def handle(self) -> None:
        path = self.rfile.readline().split()[1].decode().strip("/")
        while self.rfile.readline().strip():
            pass
        self.wfile.write(ANSWERS[path])
        if path == "is-silent":
            self.rfile.read(1)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Answer) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, name="bad-server")
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "path, is_final, sentence",
    [
        ("loops", True, "redirects again and again"),
        ("to-a-path", False, "file:///etc/hostname"),
        ("sends-more", False, "not HTTP: Data after"),
        ("sends-less", False, "not completed"),
        ("is-none", False, "not HTTP: Bad status line"),
        ("breaks-off-a-chunk", False, "not completed"),
        ("hangs-up", False, "disconnected|reset"),
        ("is-silent", False, r"silent for 0\.2 s|only 1 bytes came in 0\.2 s"),
    ],
)
def test_a_bad_answer_is_told_as_what_it_is(
    url: str, path: str, is_final: bool, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path == "is-silent":
        monkeypatch.setattr(pace, "SILENT_SECONDS", 0.2)
    with pytest.raises(Exception, match=sentence) as caught:
        HttpStager().fetch(f"{url}/{path}", io.BytesIO())
    assert isinstance(caught.value, FINAL) == is_final, repr(caught.value)
    assert isinstance(caught.value, Refused) == is_final
    assert len(str(caught.value)) < 300
    assert "SECRET" not in str(caught.value), "what is in the file stays there"
