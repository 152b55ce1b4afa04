"""The way to the parts that the library does not import: they may be absent, and never cost a client anything."""

import importlib
from types import ModuleType

from blockyard.errors import NotInstalled


def load(module: str, extra: str) -> ModuleType:
    """Import a deployable's module. Raises NotInstalled with the pip line when it, or what it needs, is absent."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise NotInstalled(
            f"{error.name} is not installed here, which this command needs: pip install 'blockyard[{extra}]'"
        ) from error
