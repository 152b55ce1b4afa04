"""Reads and writes YAML: the only module of the library that knows it. What the objects mean is their readers'."""

import functools
from typing import Any

from blockyard.errors import ConfigError, NotInstalled


class NoYaml(ConfigError):
    """A text is none; the sentence begins with ``no YAML``, for callers to say what is."""


def objects(text: str, extra: str) -> list[Any]:
    """The objects in a text, plain values only. `extra`: of ours, with which PyYAML is installed.

    Raises NoYaml, also for a key that is given twice; NotInstalled without PyYAML.
    """
    yaml = _library(extra)
    try:
        return [one for one in yaml.load_all(text, _strict()) if one is not None]
    except yaml.YAMLError as error:
        raise NoYaml(f"no YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise NoYaml("no YAML that can be read: it is nested too deeply") from error


def text_of(value: Any, extra: str) -> str:
    """A plain value as a document, keys in their order. Raises NotInstalled without PyYAML."""
    text: str = _library(extra).safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
    return text


@functools.cache
def _strict() -> Any:
    import yaml

    class Strict(yaml.SafeLoader):
        """Refuses a key that is given twice, as kubectl does: PyYAML would take the last one, in silence."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - PyYAML's signature
            seen = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                    continue
                if (key.tag, key.value) in seen:
                    fault = f"{key.value!r} is given twice"
                    raise yaml.constructor.ConstructorError(None, None, fault, key.start_mark)
                seen.add((key.tag, key.value))
            return super().construct_mapping(node, deep)

    return Strict


def _library(extra: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise NotInstalled(f"YAML needs PyYAML; pip install 'blockyard[{extra}]'") from error
    return yaml
