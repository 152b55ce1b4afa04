"""The task's side of a managed task: one file, the standard library only, Python 3.8 or later.

An executor puts this file's folder at the end of PYTHONPATH, so that ``import blockyard_shim`` works in whatever
environment the task runs. Protocol: docs/managed-protocol.md. Without an executor everything here does nothing, so a
program runs by hand as it did.

    import blockyard_shim
    reporter = blockyard_shim.reporter()
    reporter.progress(0.5, "half of the frames")
    reporter.result({"resolution": 1.8}, payload="out/map.mtz")
"""

import importlib
import json
import logging
import os
import socket
import sys
import threading
import time
import traceback
from types import SimpleNamespace
from typing import Any, Callable, Dict, Optional

CHANNEL_VARIABLE = "BLOCKYARD_CHANNEL"
ARTEFACTS_VARIABLE = "BLOCKYARD_ARTEFACTS"
_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID")


class Reporter:
    """Says things to the executor. Safe among threads; after a fork the child may go on using it."""

    def __init__(self, channel: str) -> None:
        """`channel`: ``pipe:WRITE,READ`` (descriptors), ``unix:PATH``, or '' for nobody who listens."""
        self._lock = threading.Lock()
        self._socket: Optional[socket.socket] = None
        self._write = self._read = -1
        self._begun = b""
        self._requests = 0
        self.rank = next((int(os.environ[name]) for name in _RANKS if os.environ.get(name, "").isdigit()), 0)
        kind, _, address = channel.partition(":")
        if kind == "pipe":
            self._write, self._read = [int(part) for part in address.split(",")]
        elif kind == "unix":
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.connect(address)
            self._write = self._read = self._socket.fileno()
        elif channel:
            raise ValueError("%s=%r: pipe:WRITE,READ or unix:PATH is expected" % (CHANNEL_VARIABLE, channel))

    def send(self, signal: str, contents: Any = None, number: int = 0) -> None:
        """Say something. Raises TypeError when `contents` is nothing that JSON can hold."""
        if self._write < 0:
            return
        message: Dict[str, Any] = {"signal": signal}
        if contents is not None:
            message["contents"] = contents
        if self.rank:
            message["rank"] = self.rank
        if number:
            message["id"] = number
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                while line:  # up to 4,096 bytes are written at once and whole, whoever else writes
                    line = line[os.write(self._write, line) :]
            except BrokenPipeError:
                self._write = -1  # nobody listens any more; the program's own work goes on

    def close(self) -> None:
        """Say nothing more."""
        if self._socket is not None:
            self._socket.close()
        elif self._write >= 0:
            os.close(self._write)
            os.close(self._read)
        self._write = self._read = -1

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
        if self._write < 0:
            return None
        self._requests += 1
        number = self._requests
        self.send("TASK_REQUEST", contents, number)
        while True:
            while b"\n" not in self._begun:
                more = os.read(self._read, 65536)
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
        _reporter = Reporter(os.environ.get(CHANNEL_VARIABLE, ""))
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
        return 1
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


def main(arguments: Any) -> int:
    """``blockyard_shim.py MODULE:NAME PARAMETERS.json``: run that; ``send SIGNAL [JSON]``: say one thing."""
    if arguments[0] == "send":
        reporter().send(arguments[1], json.loads(arguments[2]) if len(arguments) > 2 else None)
        return 0
    sys.modules.setdefault("blockyard_shim", sys.modules["__main__"])
    with open(arguments[1], encoding="utf-8") as file:
        parameters = json.load(file)
    try:
        target = load(arguments[0])
    except BaseException as error:  # noqa: BLE001 - the rim: an import runs user code
        message = "%s does not load: %s: %s" % (arguments[0], type(error).__name__, error)
        reporter().failed(message, traceback.format_exc())
        traceback.print_exc()
        return 1
    return perform(target, parameters)


def beat(seconds: float) -> None:
    """Send heartbeats from a thread for as long as the process lives."""

    def forever() -> None:
        while True:
            time.sleep(seconds)
            reporter().heartbeat()

    threading.Thread(target=forever, name="blockyard-heartbeat", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
