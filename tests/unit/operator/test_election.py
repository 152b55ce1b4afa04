"""Who leads: the decision about a Lease, in virtual time. With a real API server: `tests/api/test_election.py`."""

from typing import Any

import pytest

from blockyard_operator.election import Move, decide, look


def lease(holder: str, renewed: str = "t1", seconds: int = 15) -> dict[str, Any]:
    return {"spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": seconds}}


def test_without_a_lease_it_is_made() -> None:
    assert decide(None, "me", 0.0) is Move.CREATE


def test_ones_own_is_renewed_and_a_free_one_taken() -> None:
    assert decide(look(lease("me"), None, 5.0), "me", 5.0) is Move.RENEW
    assert decide(look(lease(""), None, 5.0), "me", 5.0) is Move.TAKE


@pytest.mark.parametrize("waited, move", [(0.0, Move.WAIT), (15.0, Move.WAIT), (15.1, Move.TAKE)])
def test_anothers_is_taken_when_it_was_not_seen_to_change_for_its_duration(waited: float, move: Move) -> None:
    seen = look(lease("other"), None, 5.0)
    seen = look(lease("other"), seen, 5.0 + waited)
    assert decide(seen, "me", 5.0 + waited) is move


def test_each_renewal_starts_the_wait_anew_whatever_its_clock_says() -> None:
    seen = look(lease("other", "2001-01-01"), None, 0.0)
    seen = look(lease("other", "1999-01-01"), seen, 14.0)
    assert seen.since == 14.0
    assert decide(seen, "me", 20.0) is Move.WAIT
