"""Brings a database to the newest schema, by alembic, when it is not there yet."""

import logging
from typing import Final

from sqlalchemy import Connection, inspect, text

from blockyard.errors import ConfigError

HEAD: Final = "0008"
"""The newest migration; a test compares it with the folder."""
_LOCK: Final = 0x626C6B79
"""Of PostgreSQL's advisory locks: two hubs that start together change tables one after the other."""


def revision(connection: Connection) -> str:
    """The schema that is there; '' for none."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return str(found) if found is not None else ""


def be_alone(connection: Connection) -> None:
    """In PostgreSQL: no other hub changes tables while this transaction lasts."""
    connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))


def upgrade(connection: Connection, to: str = HEAD) -> None:
    """Make or change tables and views, in one transaction.

    Raises ConfigError when the database's schema is newer than this program, and so not known to it.
    """
    if connection.dialect.name == "postgresql":
        be_alone(connection)
    found = revision(connection)
    if found == to:
        connection.commit()
        return
    if found > HEAD:
        raise ConfigError(
            f"monitoring database: its schema is {found}, the newest that this Blockyard knows is {HEAD}; "
            "use the Blockyard that made it, or a newer one"
        )
    _run(connection, to, is_down=False)


def downgrade(connection: Connection, to: str) -> None:
    """Go back to an older schema ('base': to none); what only newer ones hold is lost."""
    _run(connection, to, is_down=True)


def _run(connection: Connection, to: str, *, is_down: bool) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command  # half a second, and needed once in a database's life
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "blockyard_monitoring:sinks/sql/migrations")
    config.attributes["connection"] = connection
    (command.downgrade if is_down else command.upgrade)(config, to)
    connection.commit()
