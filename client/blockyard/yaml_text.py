"""Reads and writes YAML: the only module of the library that knows it. What the objects mean is their readers'."""

import functools
import re
from typing import Any, Final

from blockyard.errors import ConfigError, NotInstalled

_TAG: Final = "tag:yaml.org,2002:"
_INTEGER: Final = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$")
_FLOAT: Final = re.compile(
    r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
)
_BEGINNINGS: Final = list("-+.0123456789")
_BEYOND_JSON: Final = frozenset(f"{_TAG}{name}" for name in ("binary", "set", "omap", "pairs", "timestamp"))


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
    text: str = _library(extra).dump(value, Dumper=_careful(), sort_keys=False, allow_unicode=True, width=120)
    return text


@functools.cache
def _strict() -> Any:
    import yaml

    class Strict(yaml.SafeLoader):
        """Takes a text for what kubectl takes it for: 1e-3 for a number, 12:30 and 2024-01-01 for texts, and refuses
        what JSON cannot say, and a key that is given twice, of which PyYAML would take the last one, in silence."""

        yaml_constructors = {
            tag: make for tag, make in yaml.SafeLoader.yaml_constructors.items() if tag not in _BEYOND_JSON
        }
        yaml_implicit_resolvers = {
            first: [one for one in known if one[0].removeprefix(_TAG) not in ("int", "float", "timestamp")]
            for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

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

    Strict.add_implicit_resolver(f"{_TAG}int", _INTEGER, _BEGINNINGS)
    Strict.add_implicit_resolver(f"{_TAG}float", _FLOAT, _BEGINNINGS)
    return Strict


@functools.cache
def _careful() -> Any:
    import yaml

    class Careful(yaml.SafeDumper):
        """Puts into quotes what any reader, ours or PyYAML's own, could take for something else than a text."""

    Careful.add_implicit_resolver(f"{_TAG}float", _FLOAT, _BEGINNINGS)
    return Careful


def _library(extra: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise NotInstalled(f"YAML needs PyYAML; pip install 'blockyard[{extra}]'") from error
    return yaml
