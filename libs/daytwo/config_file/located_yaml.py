"""YAML as plain values that remember their places.

Every scalar is a string, or None where nothing is written: what it means is for the models to say, so that a tenant may
be called `no` and a secret may be 007. `${VAR}` and `${VAR:-default}` stand for the environment; `$${` for a plain `${`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from daytwo.config_file.problems import Path, Problem

MOST_NODES = 200_000
DEEPEST = 20

_VARIABLE = re.compile(r"\$(\$\{)|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|([^}]*)\}?)")
_NULL = "tag:yaml.org,2002:null"


@dataclass(slots=True)
class Located:
    """`value` is made of dicts, lists, strings and None. `places` has line and column, from 1, of each value, `keys` of each key."""

    file: str
    value: Any = None
    places: dict[Path, tuple[int, int]] = field(default_factory=dict)
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, path: Path, message: str, *, at_key: bool = False) -> Problem:
        """A problem at the path, or where its nearest ancestor is."""
        near = path
        while near and near not in self.places:
            near = near[:-1]
        line, column = self.keys.get(path, (1, 1)) if at_key else self.places.get(near, (1, 1))
        return Problem(file=self.file, line=line, column=column, path=path, message=message)


def read_yaml(text: str, file: str, env: Mapping[str, str]) -> Located:
    """Reads all it can; what it cannot is in `problems`."""
    located = Located(file)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        located.value = _Reader(located, env).value(node, ()) if node is not None else None
    except yaml.MarkedYAMLError as error:
        located.problems.append(_syntax(error, text, file))
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:  # PyYAML lets out what int() and chr() say
        located.problems.append(Problem(file=file, line=1, column=1, path=(), message=f"not YAML: {error}"))
    return located


def _syntax(error: yaml.MarkedYAMLError, text: str, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    message = f"not YAML: {error.problem or error}"
    written = text.splitlines()[line : line + 1] or [""]
    if "${" in written[0]:
        message += '; inside { } and [ ], put "${...}" in quotes'
    return Problem(file=file, line=line + 1, column=column + 1, path=(), message=message)


class _Reader:
    def __init__(self, located: Located, env: Mapping[str, str]) -> None:
        self._located = located
        self._env = env
        self._nodes = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._located.places[path] = _place(node)
        self._nodes += 1
        if self._nodes > MOST_NODES or len(path) > DEEPEST:
            raise yaml.YAMLError("too large or too deep, or an alias contains itself")
        if not node.tag.startswith("tag:yaml.org,2002:"):
            self._report(path, f"the tag {node.tag} is not known")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        plain = isinstance(node, yaml.ScalarNode) and node.style is None
        return None if plain and node.tag == _NULL else self._expanded(node.value, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._located.problems.append(self._located.problem(path, "a key must be a word"))
                continue
            inner = (*path, key.value)
            if key.value in result:
                first = self._located.keys[inner][0]
                self._located.keys[inner] = _place(key)
                self._located.problems.append(self._located.problem(inner, f"given twice; first in line {first}", at_key=True))
            self._located.keys[inner] = _place(key)
            result[key.value] = self.value(item, inner)
        return result

    def _expanded(self, text: str, path: Path) -> str:
        def replaced(match: re.Match[str]) -> str:
            literal, name, default, malformed = match.groups()
            if literal is not None:
                return "${"
            if malformed is not None:
                self._report(path, f"${{{malformed}}} is no variable: write ${{NAME}}, ${{NAME:-default}}, or $${{ for a plain ${{")
                return ""
            if name not in self._env and default is None:
                self._report(path, f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}")
            return self._env.get(name) or default or ""

        return _VARIABLE.sub(replaced, text)

    def _report(self, path: Path, message: str) -> None:
        self._located.problems.append(self._located.problem(path, message))


def _place(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
