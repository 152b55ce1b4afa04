"""A real manager runs tries and reports what became of them. How workers die is in its own file."""

from tests.integration.worker.peer import Peer, values


def test_a_batch_of_tries_comes_back_with_its_results(peer: Peer) -> None:
    peer.start()
    peer.wait_joined()
    tasks = peer.assign(pow, [(n, 2) for n in range(500)])
    assert values(peer.wait_for(tasks)) == [n * n for n in range(500)]
