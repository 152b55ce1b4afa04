"""Instants as the API writes them (RFC 3339, UTC, whole seconds) and as we compute with them (epoch seconds)."""

from __future__ import annotations

from datetime import UTC, datetime


def instant(text: str | None) -> float | None:
    """Read the API's text; None stays None."""
    return None if not text else datetime.fromisoformat(text).timestamp()


def text(at: float) -> str:
    """Write an instant, cut to whole seconds."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
