"""A stand-in for the operator's line to an interchange, for tests of what it announces there."""

from blockyard.blocks.scaling import Demand
from blockyard.wire import keeping
from blockyard_operator.core.view import QueueView


class Line:
    """The interchange, as an observer sees it."""

    connected = True

    def __init__(self) -> None:
        self.orders: list[keeping.SetPool] = []

    def announce(self, order: keeping.SetPool) -> None:
        self.orders.append(order)

    def view(self, queue: str) -> QueueView:
        return QueueView(demand=Demand())

    def is_announced(self, queue: str) -> bool:
        return True

    def answer_due(self, queue: str) -> float:
        return 0.0
