"""When a schedule of cron falls due: the only module that knows cronsim, and time zones.

Instants are epoch seconds. Where clocks are changed it goes as Debian's cron does: what has a fixed hour happens once,
at once after an hour that is left out and not again in one that comes twice; what happens every hour or minute follows
the clock of the world.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from blockyard.errors import ConfigError

NAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
FIELDS: Final = 5
MARGIN: Final = 7200.0
"""Seconds. Where an hour comes twice, a clock's time does not say which is meant: so walks begin further off."""


class BadSchedule(ConfigError):
    """A schedule cannot be read. `field`: of a `CronWorkflowRun`, 'schedule' or 'timeZone'."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return BadSchedule, (self.field, self.reason)


class Schedule:
    """Of an expression of five fields, or one of `NAMES`, in a time zone. Raises BadSchedule."""

    def __init__(self, expression: str, zone: str = "UTC") -> None:
        self._fields = NAMES.get(expression.strip().lower(), expression)
        try:
            self._zone: ZoneInfo | None = None if zone in ("", "UTC") else ZoneInfo(zone)
        except (KeyError, ValueError, OSError) as error:
            raise BadSchedule("timeZone", f"there is no {zone!r}; it is a name such as 'Europe/Berlin'") from error
        self._margin = 0.0 if self._zone is None else MARGIN
        if (count := len(self._fields.split())) != FIELDS:
            raise BadSchedule("schedule", f"{expression!r} has {count} fields; it has {FIELDS}, or is one of {_NAMED}")
        try:
            import cronsim  # the extra of whoever uses schedules
        except ImportError as error:
            needed = "it needs the package 'cronsim'; pip install 'blockyard[workflow]'"
            raise BadSchedule("schedule", needed) from error
        self._walker: Any = cronsim.CronSim
        try:
            self._walker(self._fields, self._local(0.0))
        except cronsim.CronSimError as error:
            raise BadSchedule("schedule", f"{expression!r}: {str(error).lower()}") from error

    def after(self, instant: float) -> float | None:
        """The first time after an instant; None when there is none within fifty years."""
        return next((at for at in self._walk(instant - self._margin, back=False) if at > instant), None)

    def back_from(self, instant: float) -> Iterator[float]:
        """Its times up to, and with, an instant, the latest first."""
        return (at for at in self._walk(instant + 1.0 + self._margin, back=True) if at <= instant)

    def _walk(self, instant: float, *, back: bool) -> Iterator[float]:
        for found in self._walker(self._fields, self._local(instant), reverse=back):
            yield found.timestamp()

    def _local(self, instant: float) -> datetime:
        return datetime.fromtimestamp(int(instant), self._zone or UTC)


_NAMED: Final = ", ".join(NAMES)
