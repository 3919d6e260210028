"""YAML as plain values: numbers as they are written, no dates, no key twice, and nothing that holds itself."""

import re
from typing import Any

import yaml

from vxlab.errors import VxlabError
from vxlab.experiments.engines import one_line

_INT, _FLOAT, _DATE = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp"))
_WHOLE = re.compile(r"[-+]?(?:[0-9][0-9_]*|0[xo][0-9a-fA-F]+)\Z")
_REAL = re.compile(
    r"[-+]?(?:(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))\Z|\.(?:nan|NaN|NAN)\Z"
)
_MOST = 100_000
"""Values, an alias counted as all that it stands for: a file of a kilobyte can stand for billions."""


def read_yaml(text: str, name: str) -> Any:
    """Return what a YAML document holds.

    ``1e-3`` is a number, which YAML 1.1 takes for a text, and so is a text in quotes a text; a date is a text, and
    ``010``, 8 to some and 10 to others, is refused.

    Args:
        text: the document.
        name: of the file, for the error.

    Raises:
        VxlabError: it is not YAML, a mapping has a key twice, or it holds itself, or too much.
    """
    try:
        loader = _PlainLoader(text)
        node = loader.get_single_node()
        content = None if node is None else loader.construct_object(node, deep=True)  # deep refuses what holds itself
        if node is not None and _size(node, {}) > _MOST:
            raise VxlabError(f"it holds more than {_MOST:,} values, counting what its aliases stand for")
        return content
    except RecursionError:
        raise VxlabError(f"{name} is not YAML: it is nested too deeply") from None
    except (VxlabError, yaml.YAMLError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise VxlabError(
            f"{name} is not YAML: {one_line(str(error), 200)}"
        ) from error  # the others: !!int x, !!bool x, ...


def write_yaml(content: Any) -> str:
    """Return plain values as a YAML document that :func:`read_yaml` reads as the same values; a tuple as a list."""
    return str(
        yaml.dump(content, Dumper=_PlainDumper, default_flow_style=None, sort_keys=False, allow_unicode=True, width=120)
    )


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader with numbers as YAML 1.2 has them; yes, no, on and off stay true and false."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [str(key.value) for key, _ in node.value]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise VxlabError(f"key {twice[0]!r} stands twice in one mapping; write it once")
        return super().construct_mapping(node, deep)

    def whole(self, node: Any) -> int:
        text = self.construct_scalar(node).replace("_", "")
        if re.match(r"[-+]?0[0-9]", text):
            raise VxlabError(f"{text} begins with a 0, which is octal to some; write {int(text)}, or 0o10 for 8")
        return int(text, 0)


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag not in (_INT, _FLOAT, _DATE)]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver(_INT, _WHOLE, list("-+0123456789"))
_PlainLoader.add_implicit_resolver(_FLOAT, _REAL, list("-+.0123456789"))
_PlainLoader.add_constructor(_INT, _PlainLoader.whole)


class _PlainDumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which puts in quotes the texts that the loader above would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True  # a value that stands twice is written twice, as a person would


_PlainDumper.yaml_implicit_resolvers = _PlainLoader.yaml_implicit_resolvers


def _size(node: Any, known: dict[int, int]) -> int:
    """Count a node's values, as if every alias were written out."""
    if id(node) not in known:
        parts = [] if isinstance(node.value, str) else node.value
        nodes = [each for part in parts for each in (part if isinstance(part, tuple) else [part])]
        known[id(node)] = 1 + sum(_size(each, known) for each in nodes)
    return known[id(node)]
