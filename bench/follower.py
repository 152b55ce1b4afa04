"""A program that follows all that happens, over ZeroMQ, until its standard input ends; then says how much that was.

``python -m bench.follower FOLDER``: of the system with this state folder. It says ``here`` when it has seen something,
and at the end JSON: how many tries and how many uses it saw, and how many events it was told that it missed. Who asks
what that costs starts it with `following`.
"""

import asyncio
import json
import select
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from bench import engines
from blockyard import Client

LOOK_SECONDS = 0.05
SILENT_SECONDS = 1.0
"""Without an event, after the end of its input: it has seen what there was."""
PATIENCE_SECONDS = 60.0
TRIES, USES, MISSED = "tries", "uses", "missed"


class Following:
    """A follower's process: its id, and what it saw, when it has ended."""

    def __init__(self, pid: int, tasks: int) -> None:
        self.pid = pid
        self.tasks = tasks
        """That were run so that it had something to see."""
        self.saw: dict[str, int] = {}


@contextmanager
def following(client: Client) -> Iterator[Following]:
    """A follower of a local system from now on; at the end of the block it sees the rest and ends."""
    argv = [sys.executable, "-m", "bench.follower", str(client.folder)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        tasks = 0
        while not select.select([process.stdout], [], [], LOOK_SECONDS)[0]:
            client.submit(engines.noop).result()
            tasks += 1
        if process.stdout.readline() != b"here\n":
            raise RuntimeError(f"the follower of {client.folder} ended with {process.wait()} before it saw anything")
        one = Following(process.pid, tasks)
        yield one
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    one.saw = json.loads(said)


async def look(events: AsyncIterator[dict[str, Any]], seen: Counter[str]) -> None:
    """Count what comes."""
    async for event in events:
        match event["record"]:
            case "Tries":
                seen[TRIES] += len(event["tries"])
            case "WorkerTasks":
                seen[USES] += len(event["uses"])
            case "lost":
                seen[MISSED] += event["count"] or 0
        seen["events"] += 1


async def follow(client: Client) -> Counter[str]:
    seen: Counter[str] = Counter()
    looking = asyncio.create_task(look(client.events(), seen))
    while not seen["events"] and not looking.done():
        await asyncio.sleep(LOOK_SECONDS)
    print("here", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    before = -1
    while before != seen["events"] and not looking.done():
        before = seen["events"]
        await asyncio.sleep(SILENT_SECONDS)
    if looking.done():
        looking.result()  # which raises why
    looking.cancel()
    return seen


def main() -> None:
    with Client.connect(sys.argv[1]) as client:
        print(json.dumps(asyncio.run(follow(client))))


if __name__ == "__main__":
    main()
