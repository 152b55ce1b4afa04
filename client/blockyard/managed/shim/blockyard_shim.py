"""The task's side of a managed task: one file, the standard library only, Python 3.8 or later.

An executor puts this file's folder at the end of PYTHONPATH, so that ``import blockyard_shim`` works in whatever
environment the task runs. Protocol: docs/managed-protocol.md. Without an executor everything here does nothing, so a
program runs by hand as it did.

    import blockyard_shim
    reporter = blockyard_shim.reporter()
    reporter.progress(0.5, "half of the frames")
    reporter.result({"resolution": 1.8}, payload="out/map.mtz")
"""

import atexit
import importlib
import json
import logging
import os
import select
import socket
import sys
import threading
import time
import traceback
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, Optional

CHANNEL_VARIABLE = "BLOCKYARD_CHANNEL"
KEY_VARIABLE = "BLOCKYARD_CHANNEL_KEY"
ARTEFACTS_VARIABLE = "BLOCKYARD_ARTEFACTS"
_MOST_BYTES = 16 * 1024 * 1024
_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID")


class _Descriptors:
    """A pipe's two ends, or a socket."""

    def __init__(self, write: int, read: int, peer: Optional[socket.socket] = None) -> None:
        self._write, self._read, self._peer = write, read, peer

    def send(self, line: bytes) -> None:
        while line:  # up to 4,096 bytes are written at once and whole, whoever else writes
            line = line[os.write(self._write, line) :]

    def receive(self) -> bytes:
        return os.read(self._read, 65536)

    def close(self) -> None:
        if self._peer is not None:
            self._peer.close()
        else:
            os.close(self._write)
            os.close(self._read)


class Link:
    """A TCP link with CURVE (https://rfc.zeromq.org/spec/26/), for a task on another machine than its executor.

    The one thing here that is not the standard library's: it takes pyzmq in the task's environment.
    """

    def __init__(self, endpoint: str, key: str) -> None:
        """`endpoint`: ``tcp://HOST:PORT``. `key`: the executor's public and the task's own secret key, with a comma."""
        try:
            self._zmq: Any = importlib.import_module("zmq")
        except ImportError as error:
            text = "the channel %s takes pyzmq; install it in the environment of the task: %s"
            raise ImportError(text % (endpoint, error)) from error
        self._server, comma, self._secret = key.encode().partition(b",")
        if not comma:
            raise ValueError("%s does not hold two keys with a comma between them" % KEY_VARIABLE)
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._open()
        _links.append(self)

    def _open(self) -> None:
        self._pid = os.getpid()
        self._context = self._zmq.Context()
        self._socket = self._context.socket(self._zmq.DEALER)
        self._socket.curve_publickey = self._zmq.curve_public(self._secret)
        self._socket.curve_secretkey = self._secret
        self._socket.curve_serverkey = self._server
        self._socket.linger = int(1000 * _LINK_SECONDS)
        self._socket.sndtimeo = int(1000 * _LINK_SECONDS)
        self._socket.connect(self._endpoint)

    def send(self, line: bytes) -> None:
        """Queue one line. Raises BrokenPipeError when the executor has taken none for a while."""
        with self._lock:
            if self._pid != os.getpid():  # forked: the socket is the parent's
                self._open()
            try:
                self._socket.send(line)
            except self._zmq.Again as error:
                raise BrokenPipeError("%s: nobody takes what is said" % self._endpoint) from error

    def receive(self) -> bytes:
        """Wait for some lines."""
        hints = select.poll()
        hints.register(self.fileno(), select.POLLIN)
        while True:
            found = self.poll()
            if found:
                return found
            hints.poll(50)  # another thread's `send` may have used the hint up

    def poll(self) -> bytes:
        """What has come, b'' for nothing."""
        found = []
        with self._lock:
            while self.has_frames():
                found.append(self._socket.recv())
        return b"".join(found)

    def has_frames(self) -> bool:
        """Whether something has come. For one thread at a time."""
        return bool(self._socket.getsockopt(self._zmq.EVENTS) & self._zmq.POLLIN)

    def fileno(self) -> int:
        """Of what becomes readable when something has come."""
        return int(self._socket.getsockopt(self._zmq.FD))

    def close(self) -> None:
        """Say nothing more. What was said goes out all the same, for which `leave` waits."""
        if self._pid == os.getpid():
            self._socket.close()

    def end(self, seconds: float = 10.0) -> None:
        """Close it, and wait until what was said has gone out, at most so long."""
        if self._pid == os.getpid():
            self._socket.close(linger=int(1000 * seconds))
            self._context.term()
        if self in _links:
            _links.remove(self)


_LINK_SECONDS = 10.0
_links: List[Link] = []


def leave() -> None:
    """Wait until all that was said over links has gone out. At the end of the process; before `os._exit` by hand."""
    while _links:
        _links[-1].end()


atexit.register(leave)


class Reporter:
    """Says things to the executor. Safe among threads; after a fork the child may go on using it."""

    def __init__(self, channel: str, key: str = "") -> None:
        """`channel`: ``pipe:WRITE,READ`` (descriptors), ``unix:PATH``, ``curve:tcp://HOST:PORT`` (then with a `key` as
        `Link` has it), or '' for nobody who listens."""
        self._lock = threading.Lock()
        self._link: Any = None
        self._begun = b""
        self._requests = 0
        self.rank = next((int(os.environ[name]) for name in _RANKS if os.environ.get(name, "").isdigit()), 0)
        kind, _, address = channel.partition(":")
        if kind == "pipe":
            write, read = [int(part) for part in address.split(",")]
            self._link = _Descriptors(write, read)
        elif kind == "unix":
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            peer.connect(address)
            self._link = _Descriptors(peer.fileno(), peer.fileno(), peer)
        elif kind == "curve":
            self._link = Link(address, key)
        elif channel:
            raise ValueError("%s=%r: pipe:WRITE,READ, unix:PATH or curve:tcp://HOST:PORT is expected"
                             % (CHANNEL_VARIABLE, channel))  # fmt: skip

    def send(self, signal: str, contents: Any = None, number: int = 0) -> None:
        """Say something. Raises TypeError when `contents` is nothing that JSON can hold, ValueError for too much."""
        if self._link is None:
            return
        message: Dict[str, Any] = {"signal": signal}
        if contents is not None:
            message["contents"] = contents
        if self.rank:
            message["rank"] = self.rank
        if number:
            message["id"] = number
        # A path may be bytes that are no UTF-8; `?` stands for those.
        line = json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        if len(line) > _MOST_BYTES:
            text = "%s: %d bytes, and a message has %d at most; write a file, and tell its path"
            raise ValueError(text % (signal, len(line), _MOST_BYTES))
        with self._lock:
            try:
                if self._link is not None:
                    self._link.send(line)
            except BrokenPipeError:
                self._link = None  # nobody listens any more; the program's own work goes on

    def close(self) -> None:
        """Say nothing more."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def started(self, parameters: Any = None) -> None:
        """The work begins, with these parameters."""
        self.send("TASK_STARTED", parameters)

    def result(
        self, summary: Any = None, payload: Any = None, impl_schemas: str = "", status: str = "COMPLETED"
    ) -> None:
        """What came of it: a short `summary`, and the `payload` or the path to it. Figures become artefacts."""
        contents = {"summary": _plain(summary), "payload": _plain(payload), "status": status}
        if impl_schemas:
            contents["impl_schemas"] = impl_schemas
        self.send("TASK_RESULT", contents)

    def failed(self, message: str, trace: str = "") -> None:
        """It came to nothing."""
        self.send("TASK_FAILED", {"message": message, "traceback": trace})

    def log(self, message: str, level: str = "INFO") -> None:
        """A line of log."""
        self.send("TASK_LOG", {"message": message, "level": level})

    def heartbeat(self) -> None:
        """It is alive."""
        self.send("TASK_HEARTBEAT")

    def progress(self, fraction: float, message: str = "") -> None:
        """How far it is, from 0 to 1."""
        self.send("TASK_PROGRESS", {"fraction": fraction, "message": message} if message else {"fraction": fraction})

    def metric(self, name: str, value: float, unit: str = "") -> None:
        """A figure."""
        contents: Dict[str, Any] = {"name": name, "value": value}
        self.send("TASK_METRIC", {**contents, "unit": unit} if unit else contents)

    def artefact(self, name: str, path: str, kind: str = "file") -> None:
        """A file that it leaves. `kind`: file, figure, html, table …"""
        self.send("TASK_ARTEFACT", {"name": name, "path": os.path.abspath(path), "kind": kind})

    def metadata(self, **values: Any) -> None:
        """Anything about it that is worth keeping, by name."""
        self.send("TASK_METADATA", values)

    def request(self, contents: Any) -> Any:
        """Ask the executor something, and wait for the answer. None without an executor."""
        if self._link is None:
            return None
        self._requests += 1
        number = self._requests
        self.send("TASK_REQUEST", contents, number)
        while True:
            while b"\n" not in self._begun:
                more = self._link.receive()
                if not more:
                    raise EOFError("the executor is gone")
                self._begun += more
            line, _, self._begun = self._begun.partition(b"\n")
            answer = json.loads(line)
            if answer.get("id") == number:
                return answer.get("contents")


class LogHandler(logging.Handler):
    """Sends records of `logging` as TASK_LOG."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send one."""
        reporter().send("TASK_LOG", {"message": self.format(record), "level": record.levelname})


class Task:
    """A task as a class: `run` does the work and returns its payload; `pre_run` and `post_run` are around it."""

    def __init__(self, parameters: SimpleNamespace) -> None:
        self.parameters = parameters
        self.reporter = reporter()
        self.summary: Any = None
        self.impl_schemas = ""

    def pre_run(self) -> None:
        """Before the work."""

    def run(self) -> Any:
        """The work."""
        raise NotImplementedError("%s: define run()" % type(self).__name__)

    def post_run(self) -> None:
        """After the work, when it went well."""


_reporter: Optional[Reporter] = None


def reporter() -> Reporter:
    """This process's reporter."""
    global _reporter
    if _reporter is None:
        _reporter = Reporter(os.environ.get(CHANNEL_VARIABLE, ""), os.environ.get(KEY_VARIABLE, ""))
    return _reporter


def _plain(value: Any, depth: int = 0) -> Any:
    """What JSON can hold: figures and bytes go to files in the folder of artefacts, and names take their place."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if depth > 20:
        raise TypeError("a result nested deeper than 20 levels")
    if isinstance(value, dict):
        return {str(key): _plain(one, depth + 1) for key, one in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(one, depth + 1) for one in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "savefig"):  # matplotlib
        return _saved("figure", ".png", value.savefig)
    if hasattr(value, "write_html"):  # plotly
        return _saved("html", ".html", value.write_html)
    if hasattr(value, "_repr_html_"):  # tables and figures that show themselves in notebooks
        return _saved("html", ".html", lambda path: _write(path, value._repr_html_().encode()))
    if isinstance(value, (bytes, bytearray)):
        kind = "html" if value.lstrip()[:1] == b"<" else "file"
        return _saved(kind, ".html" if kind == "html" else ".bin", lambda path: _write(path, value))
    if hasattr(value, "tolist"):  # numpy
        return _plain(value.tolist(), depth + 1)
    if hasattr(value, "__await__"):
        getattr(value, "close", str)()  # a coroutine would be warned of
        raise TypeError("it made a %s, which nothing awaits; give a plain function, which calls asyncio.run(...)"
                        % type(value).__name__)  # fmt: skip
    raise TypeError("a result of type %s can't be told; return numbers, text, lists, dicts, figures or the path of a "
                    "file" % type(value).__name__)  # fmt: skip


_saved_figures = 0


def _saved(kind: str, suffix: str, save: Callable[[str], Any]) -> Any:
    global _saved_figures
    folder = os.environ.get(ARTEFACTS_VARIABLE, "")
    if not folder:
        raise TypeError("a %s needs a folder of artefacts; %s is not set" % (kind, ARTEFACTS_VARIABLE))
    os.makedirs(folder, exist_ok=True)
    _saved_figures += 1
    name = "%s-%d-%d%s" % (kind, reporter().rank, _saved_figures, suffix)
    path = os.path.join(folder, name)
    save(path)
    reporter().artefact(name, path, kind)
    return {"artefact": name}


def _write(path: str, data: Any) -> None:
    with open(path, "wb") as file:
        file.write(data)


def perform(target: Any, parameters: Dict[str, Any]) -> int:
    """Run a function or a `Task` with its parameters and tell what came of it; returns the exit code."""
    told = reporter()
    speaks = told.rank == 0  # the first rank of an MPI program speaks for all, unless another one fails
    if speaks:
        told.started(parameters)
    try:
        if isinstance(target, type):
            task = target(SimpleNamespace(**parameters))
            task.pre_run()
            payload = task.run()
            task.post_run()
            summary, schemas = getattr(task, "summary", None), getattr(task, "impl_schemas", "")
        else:
            payload, summary, schemas = target(**parameters), None, ""
        if speaks:
            told.result(summary, payload, schemas)
    except BaseException as error:  # noqa: BLE001 - the rim: user code raises anything, SystemExit included
        if isinstance(error, SystemExit) and not error.code:
            told.send("TASK_DONE")
            return 0
        told.failed("%s: %s" % (type(error).__name__, error), traceback.format_exc())
        traceback.print_exc()
        code = error.code if isinstance(error, SystemExit) else 1
        return code & 0xFF or 1 if isinstance(code, int) else 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    return 0


def load(target: str) -> Any:
    """What ``module:name`` stands for."""
    module, _, name = target.partition(":")
    found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def load_and_perform(name: str, loaded: Callable[[], Any], parameters: Dict[str, Any]) -> int:
    """`perform` what `loaded` gives; when it gives none, tell why."""
    try:
        target = loaded()
    except BaseException as error:  # noqa: BLE001 - the rim: an import runs user code
        message = "%s does not load: %s: %s" % (name, type(error).__name__, error)
        reporter().failed(message, traceback.format_exc())
        traceback.print_exc()
        return 1
    return perform(target, parameters)


def main(arguments: Any) -> int:
    """``blockyard_shim.py MODULE:NAME PARAMETERS.json``: run that; ``send SIGNAL [JSON]``: say one thing."""
    if arguments[0] == "send":
        reporter().send(arguments[1], json.loads(arguments[2]) if len(arguments) > 2 else None)
        return 0
    sys.modules.setdefault("blockyard_shim", sys.modules["__main__"])
    with open(arguments[1], encoding="utf-8") as file:
        parameters = json.load(file)
    return load_and_perform(arguments[0], lambda: load(arguments[0]), parameters)


def beat(seconds: float) -> None:
    """Send heartbeats from a thread for as long as the process lives."""

    def forever() -> None:
        while True:
            time.sleep(seconds)
            reporter().heartbeat()

    threading.Thread(target=forever, name="blockyard-heartbeat", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
