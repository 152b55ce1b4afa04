"""Plays many seeds in a process of its own: ``python -m tests.simulation.shard FIRST STOP STEP [MUTATION [FAILURES]]``.

Prints one JSON object: how many seeds were played, how many virtual tasks ended, and the first failures in words.
"""

import json
import logging
import sys
import traceback

from tests.simulation import mutations
from tests.simulation.scenario import play

MOST_FAILURES = 3


def main(first: int, stop: int, step: int, mutation: str = "", most_failures: int = MOST_FAILURES) -> None:
    """Play seeds until some have failed."""
    logging.disable(logging.CRITICAL)
    if mutation:
        mutations.ALL[mutation]()
    failures: list[dict[str, object]] = []
    played = ended = events = 0
    for seed in range(first, stop, step):
        played += 1
        try:
            scenario = play(seed)
        except Exception as error:  # noqa: BLE001 - the rim of this process: whatever a seed brings up is its report
            words = "".join(traceback.format_exception(error))
            failures.append({"seed": seed, "kind": type(error).__name__, "error": str(error), "words": words})
            if len(failures) == most_failures:
                break
        else:
            ended += len(scenario.ledger.ended)
            events += scenario.world.events
    json.dump({"played": played, "ended": ended, "events": events, "failures": failures}, sys.stdout)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), *sys.argv[4:5], *map(int, sys.argv[5:6]))  # type: ignore[arg-type]
