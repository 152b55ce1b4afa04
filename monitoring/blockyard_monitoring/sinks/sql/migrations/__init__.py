"""alembic's scripts. A new one may rely on nothing of the present code but on what it brings along itself."""
