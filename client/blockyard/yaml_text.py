"""Reads and writes YAML: the only module of the library that knows it. What the objects mean is their readers'."""

from typing import Any

from blockyard.errors import ConfigError


class NoYaml(ConfigError):
    """A text is none; the sentence begins with ``no YAML``, for callers to say what is."""


def objects(text: str, extra: str) -> list[Any]:
    """The objects in a text, plain values only. `extra`: of ours, with which PyYAML is installed.

    Raises NoYaml; ConfigError when that is not installed.
    """
    yaml = _library(extra)
    try:
        return [one for one in yaml.safe_load_all(text) if one is not None]
    except yaml.YAMLError as error:
        raise NoYaml(f"no YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise NoYaml("no YAML that can be read: it is nested too deeply") from error


def text_of(value: Any, extra: str) -> str:
    """A plain value as a document, keys in their order. Raises ConfigError when PyYAML is not installed."""
    text: str = _library(extra).safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
    return text


def _library(extra: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise ConfigError(f"YAML needs PyYAML; pip install 'blockyard[{extra}]'") from error
    return yaml
