"""The history as people and programs ask it: SQLite or PostgreSQL, read only, every answer bounded.

Each module has the questions about one thing: functions of parameters, and of a connection that `reading` opened, which
return records. What is in the tables is the sql sink's, how it is shown that of `page` and `report`.
"""

from blockyard_monitoring.history.reading import History, HistoryAway

__all__ = ["History", "HistoryAway"]
