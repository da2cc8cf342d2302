"""YAML as people mean it: no key twice, no number in base 60."""

from __future__ import annotations

from typing import Any

import yaml

__all__ = ["load_yaml"]


def load_yaml(text: str) -> Any:
    """Content of a YAML document, of plain types alone.

    A key that a mapping gives twice is refused, where YAML 1.1 takes the last one. ``25:00`` stays
    text, where YAML 1.1 reads 1500.

    Raises: yaml.YAMLError saying where.

    Example:
        >>> load_yaml("{a: 25:00, b: 2}")
        {'a': '25:00', 'b': 2}
    """
    return yaml.load(text, _Loader)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without two of its surprises."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping, refusing a key that appears twice."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                msg = f"key {key.value!r} appears twice; keep one of them"
                raise yaml.constructor.ConstructorError(None, None, msg, key.start_mark)
            seen.add(str(key.value))
        return dict(super().construct_mapping(node, deep=deep))

    def plain_int(self, node: yaml.ScalarNode) -> int | str:
        """Build an integer; what has colons is text."""
        return str(node.value) if ":" in node.value else int(self.construct_yaml_int(node))

    def plain_float(self, node: yaml.ScalarNode) -> float | str:
        """Build a float; what has colons is text."""
        return str(node.value) if ":" in node.value else float(self.construct_yaml_float(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.plain_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.plain_float)
