"""Which blocks a push of demand concerns."""

from blockyard.blocks.scaling import Demand
from blockyard_operator.core.view import Load, QueueView
from blockyard_operator.news import News, compare

BUSY = Load(managers=1, workers=4, busy=2, done=5)


def view(**loads: Load) -> QueueView:
    return QueueView(demand=Demand(), loads=loads)


def test_the_first_word_concerns_all() -> None:
    assert compare("q", None, view(a=BUSY)).blocks == {"a"}


def test_mere_counts_are_told_apart_from_what_matters() -> None:
    more = Load(managers=1, workers=4, busy=3, done=9)
    idle = Load(managers=1, workers=4, busy=0, done=9, idle_since=7.0)
    gone, fresh = view(a=BUSY, b=BUSY, c=BUSY, d=BUSY), view(a=BUSY, b=more, c=idle, e=BUSY)
    found = compare("q", gone, fresh)
    assert found == News("q", frozenset("cde"), frozenset("b"))


def test_a_block_that_is_being_drained_or_proves_itself_matters() -> None:
    new = Load(managers=1, workers=4, busy=2, done=0)
    assert compare("q", view(a=new), view(a=BUSY)).blocks == {"a"}
    draining = Load(managers=1, workers=4, busy=2, done=5, draining=True)
    assert compare("q", view(a=BUSY), view(a=draining)).blocks == {"a"}
