"""What each address shows: a question to the history, and the template or the JSON that it is answered by.

Handlers are plain functions of a request's parameters, called from a thread; the server around them is `server`'s.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from blockyard.wire.monitoring import micros
from blockyard_monitoring.history import History, artefacts, blocks, configs, failures, graph, runs, tasks, timeline
from blockyard_monitoring.history.shapes import STATES
from blockyard_monitoring.page import questions, templates
from blockyard_monitoring.page.drawing import draw
from blockyard_monitoring.page.printing import Printing
from blockyard_monitoring.page.questions import Integer, NothingThere

Query = Mapping[str, str]
_MOST_ROWS: Final = 500
_MOST_ARTEFACTS: Final = 100
"""Of a run that its page shows, the last."""
_SANDBOX: Final = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""For what is others': it may draw, in an origin of its own that has no cookie and reaches nothing."""
_SHOWN: Final = (
    "text/html", "text/plain", "application/json", "image/png", "image/jpeg", "image/gif", "image/webp",
    "image/svg+xml",
)  # fmt: skip
"""Media that a browser is given to show; all others it is to save."""


class Answer(msgspec.Struct, frozen=True):
    """A body and what it is."""

    body: bytes
    content_type: str = "text/html"
    headers: dict[str, str] = {}
    """In place of those that every answer carries."""


class Pages:
    """Of one history."""

    def __init__(self, history: History, printing: Printing, clock: Callable[[], float] = time.time) -> None:
        self._history = history
        self._printing = printing
        self._clock = clock
        self._templates = templates.make()

    def routes(self) -> dict[str, Callable[[Query], Answer]]:
        """Address to handler."""
        return {
            "/": self.runs,
            "/run": self.run,
            "/tasks": self.tasks,
            "/tasks/{task}": self.task,
            "/artefact": self.artefact,
            "/failures": self.failures,
            "/blocks": self.blocks,
            "/block": self.block,
            "/timeline": self.timeline,
            "/timeline.json": self.timeline_json,
            "/usage.json": self.usage_json,
            "/samples.json": self.samples_json,
            "/graph": self.graph,
        }

    def sorry(self, status: int, words: str) -> str:
        """An error as a page."""
        template = self._templates.get_template("sorry.html")
        return template.render(title="Sorry", run="", here="", self_url="/", status=status, words=words)

    def runs(self, query: Query) -> Answer:
        """All runs, the latest first."""
        behind = questions.place(query, tuple[Integer, str])
        with self._history.connection() as connection:
            found = runs.runs(connection, behind, _rows(query, 50))
        return self._page("runs.html", query, "Runs", "runs", page=found, more=_more(query, "/", found.next))

    def run(self, query: Query) -> Answer:
        """One run in numbers."""
        name = questions.text(query, "run")
        with self._history.connection() as connection:
            line = runs.run(connection, name) if name else None
            if line is None:
                raise NothingThere(f"run {name!r}: the history knows nothing of it")
            shown = {
                "line": line,
                "spent": runs.spent(connection, name),
                "functions": runs.functions(connection, name),
                "failures": failures.failures(connection, name, limit=10),
                "programs": configs.unwell(connection, name, limit=10),
                "unwell": configs.count_unwell(connection, name),
                "states": runs.states(connection, name),
                "artefacts": artefacts.lines(connection, run=name)[-_MOST_ARTEFACTS:],
            }
        return self._page("run.html", query, f"Run {name}", "run", **shown)

    def tasks(self, query: Query) -> Answer:
        """Tasks by filter, a page at a time."""
        wanted = questions.wanted(query)
        behind = questions.place(query, tuple[Integer, Integer])
        with self._history.connection() as connection:
            found = tasks.tasks(connection, wanted, behind, _rows(query, 100))
            is_first = behind is None and not wanted.state
            waiting = tasks.waiting(connection, wanted) if is_first else []
        more = _more(query, "/tasks", found.next)
        return self._page(
            "tasks.html", query, "Tasks", "tasks", page=found, waiting=waiting, wanted=wanted, more=more, states=STATES
        )

    def task(self, query: Query) -> Answer:
        """All about one task."""
        number = questions.task(query["task"])
        with self._history.connection() as connection:
            found = tasks.task(connection, number)
            if found is None:
                raise NothingThere(f"task {query['task']}: the history knows nothing of it")
            near = draw(graph.of_task(connection, number))
            left = artefacts.lines(connection, task=number)
            managed = configs.lines(connection, number)
        printed, why_not = self._printing.of(number & 0xFFFF_FFFF_FFFF_FFFF)
        return self._page(
            "task.html", query, f"Task {found.task}", "task", run=found.run, task=found, drawing=near,
            printed=printed, why_not=why_not, artefacts=left, managed=managed,
        )  # fmt: skip

    def artefact(self, query: Query) -> Answer:
        """What an artefact holds, as others made it: shut in, whatever it is."""
        config, name = questions.text(query, "config"), questions.text(query, "name")
        with self._history.connection() as connection:
            found = [one for one in artefacts.lines(connection, config=config) if config and one.name == name]
            if not found:
                raise NothingThere(f"artefact {name!r}: the history knows nothing of it")
            try:
                body = artefacts.content(connection, found[0])
            except artefacts.NotWhole as error:
                raise NothingThere(str(error)) from error
        media = found[0].media if found[0].media in _SHOWN else "application/octet-stream"
        headers = {"Content-Security-Policy": _SANDBOX}
        if media not in _SHOWN:
            headers["Content-Disposition"] = "attachment"
        return Answer(body, media, headers)

    def failures(self, query: Query) -> Answer:
        """Failures by cause."""
        run, pool = questions.text(query, "run"), questions.text(query, "pool")
        with self._history.connection() as connection:
            found = failures.failures(connection, run, pool)
        return self._page("failures.html", query, "Failures", "failures", failures=found)

    def blocks(self, query: Query) -> Answer:
        """Blocks and managers."""
        pool = questions.text(query, "pool")
        behind = questions.place(query, tuple[Integer, str, str])
        with self._history.connection() as connection:
            found = blocks.blocks(connection, pool, behind, _rows(query, 100))
            managers = blocks.managers(connection, pool, only_there=True) if behind is None else []
        more = _more(query, "/blocks", found.next)
        return self._page("blocks.html", query, "Blocks", "blocks", page=found, managers=managers, more=more, pool=pool)

    def block(self, query: Query) -> Answer:
        """What one block went through."""
        pool, name = questions.text(query, "pool"), questions.text(query, "block")
        with self._history.connection() as connection:
            found = blocks.block(connection, pool, name)
            managers = blocks.managers(connection, pool, name)
        if not found and not managers:
            raise NothingThere(f"block {name!r} of pool {pool!r}: the history knows nothing of it")
        return self._page(
            "block.html", query, f"Block {name}", "block", states=found, managers=managers, pool=pool, block=name
        )

    def timeline(self, query: Query) -> Answer:
        """The page around the timeline, which its script draws."""
        return self._page("timeline.html", query, "Timeline", "timeline")

    def timeline_json(self, query: Query) -> Answer:
        """A window of time by lanes."""
        run = questions.text(query, "run")
        buckets = questions.whole(query, "buckets", 400, 1, timeline.MOST_BUCKETS)
        lane = questions.whole(query, "worker", -1, -1, 1 << 31)
        manager = questions.text(query, "manager")
        with self._history.connection() as connection:
            extent = self._extent(connection, run)
            window = questions.window(query, extent)
            first = timeline.Lane(manager, lane) if manager else None
            found = timeline.timeline(connection, window, run=run, buckets=buckets, from_lane=first)
        return _json({"extent": extent, "timeline": found})

    def usage_json(self, query: Query) -> Answer:
        """How many workers were busy, and what ended, over time."""
        run = questions.text(query, "run")
        with self._history.connection() as connection:
            window = questions.window(query, self._extent(connection, run))
            found = timeline.usage(connection, window, run=run)
        return _json(found)

    def samples_json(self, query: Query) -> Answer:
        """What a task used over time."""
        number = questions.task(questions.text(query, "task"))
        with self._history.connection() as connection:
            found = tasks.task(connection, number)
        return _json([] if found is None else found.samples)

    def graph(self, query: Query) -> Answer:
        """What waits for what."""
        run, name = questions.text(query, "run"), questions.text(query, "task")
        with self._history.connection() as connection:
            if name:
                found = graph.of_task(connection, questions.task(name))
            else:
                found = graph.of_run(connection, run) if run else graph.NOTHING
        return self._page("graph.html", query, "Graph", "graph", graph=found, drawing=draw(found), of_task=name)

    def _extent(self, connection: Any, run: str) -> tuple[int, int]:
        found = timeline.extent(connection, run)
        now = micros(self._clock())
        return found or (now - 60_000_000, now)

    def _page(self, template: str, query: Query, title: str, here: str, **shown: Any) -> Answer:
        shown.setdefault("run", questions.text(query, "run"))
        text = self._templates.get_template(template).render(
            title=title, here=here, self_url=query[""], now_us=micros(self._clock()), **shown
        )
        return Answer(text.encode("utf-8", "replace"))


def _json(value: object) -> Answer:
    return Answer(msgspec.json.encode(value), "application/json")


def _rows(query: Query, default: int) -> int:
    return questions.whole(query, "rows", default, 1, _MOST_ROWS)


def _more(query: Query, path: str, key: tuple[Any, ...] | None) -> str:
    """Address of the next page; '' when there is none."""
    if key is None:
        return ""
    kept = {name: value for name, value in query.items() if name not in ("", "behind")}
    return templates.url(path, **kept, behind=questions.place_text(key))
