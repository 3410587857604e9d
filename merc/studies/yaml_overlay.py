"""Set values in a YAML text, keeping every comment where it stands."""

import io
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

LINE_WIDTH = 1000  # no line is folded


def merged(base: Any, over: Any) -> Any:
    """`base` with the values of `over`: mappings are merged key by key, anything else is replaced."""
    if isinstance(base, dict) and isinstance(over, dict) and over:
        return {**base, **{name: merged(base.get(name), value) for name, value in over.items()}}
    return over


def overlaid(text: str, over: dict[str, Any]) -> str:
    """The text with the values of `over`; new keys are appended to their mapping.

    ValueError where a value would change: ruamel.yaml rounds floats of 17 digits with an exponent.
    """
    form = round_trip()
    document = form.load(text)
    _set(document, over)
    result = io.StringIO()
    form.dump(document, result)
    if yaml.safe_load(result.getvalue()) != merged(yaml.safe_load(text), over):
        raise ValueError("a value would not be written as it is")
    return result.getvalue()


def round_trip() -> YAML:
    """Reads and writes the style of params.yaml: two spaces per level, lists indented, quotes as they are."""
    form = YAML(typ="rt")
    form.indent(mapping=2, sequence=4, offset=2)
    form.preserve_quotes = True
    form.width = LINE_WIDTH
    return form


def _set(node: CommentedMap, over: dict[str, Any]) -> None:
    for name, value in over.items():
        if isinstance(value, dict) and value and isinstance(node.get(name), dict) and node[name]:
            _set(node[name], value)
            continue
        # ruamel.yaml keeps a comment with the scalar before it: it moves behind the new value
        comment = _take_comment(node, name if name in node else list(node)[-1])
        node[name] = _rendered(value)
        _put_comment(node, name, comment)


def _rendered(value: Any) -> Any:
    """By way of PyYAML's text: ruamel.yaml writes 1e-05 and no, which PyYAML reads as a text and as false."""
    return round_trip().load(yaml.safe_dump({"value": value}, sort_keys=False, width=LINE_WIDTH))["value"]


def _take_comment(node: CommentedMap, key: Any) -> Any:
    """Remove and return what stands behind the last scalar below a key."""
    parent, last, slot = _last_scalar(node, key)
    comments = parent.ca.items.get(last, [None] * 4)
    comment, comments[slot] = comments[slot], None
    return comment


def _put_comment(node: CommentedMap, key: Any, comment: Any) -> None:
    parent, last, slot = _last_scalar(node, key)
    if comment is not None:
        parent.ca.items.setdefault(last, [None] * 4)[slot] = comment


def _last_scalar(node: Any, key: Any) -> tuple[Any, Any, int]:
    """Its parent, its key or index, and where among the comments at a key or index the one behind it stands."""
    value = node[key]
    if value and isinstance(value, CommentedMap | CommentedSeq) and not value.fa.flow_style():
        return _last_scalar(value, list(value)[-1] if isinstance(value, CommentedMap) else len(value) - 1)
    return node, key, 2 if isinstance(node, CommentedMap) else 0
