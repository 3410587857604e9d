"""Set values in a YAML text line by line, keeping every comment.

Supports the block style of params.yaml: two spaces per level, a key per line, comments on separate lines above.
"""

from typing import Any

import yaml


def merged(base: Any, over: Any) -> Any:
    """`base` with the values of `over`: mappings are merged key by key, anything else is replaced."""
    if isinstance(base, dict) and isinstance(over, dict) and over:
        return {**base, **{name: merged(base.get(name), value) for name, value in over.items()}}
    return over


def overlaid(text: str, over: dict[str, Any]) -> str:
    """The text with the values of `over`; new keys are appended to their mapping."""
    lines = text.splitlines()
    for path, value in _leaves(over, ()):
        lines = _set(lines, path, value)
    result = "\n".join(lines) + "\n"
    if yaml.safe_load(result) != merged(yaml.safe_load(text), over):
        raise ValueError("the text is not in plain block style")
    return result


def _leaves(over: dict[str, Any], path: tuple[str, ...]):
    for name, value in over.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value


def _set(lines: list[str], path: tuple[str, ...], value: Any) -> list[str]:
    """Replace the value at a path; missing parents are created."""
    first, end = 0, len(lines)
    for depth, name in enumerate(path):
        line = _find(lines, first, end, depth, name)
        if line is None:
            return [*lines[:end], *_rendered(path[depth:], value, depth), *lines[end:]]
        if depth == len(path) - 1:
            return [*lines[:line], *_rendered((name,), value, depth), *lines[_end(lines, line, end, depth) :]]
        last = _end(lines, line, end, depth)
        if not _is_filled(lines[line:last]):
            lines = [*lines[:line], f"{'  ' * depth}{name}:", *lines[last:]]
            last = line + 1
        first, end = line + 1, last
    raise ValueError("an empty path")


def _find(lines: list[str], first: int, end: int, depth: int, name: str) -> int | None:
    """Index of the line with this key, None if there is none."""
    key = f"{'  ' * depth}{name}:"
    return next((n for n in range(first, end) if lines[n] == key or lines[n].startswith(key + " ")), None)


def _end(lines: list[str], key_line: int, limit: int, depth: int) -> int:
    """One past the last line below a key; comments and blank lines before the next key belong to the next key."""
    last = key_line
    for number in range(key_line + 1, limit):
        line = lines[number]
        if line.strip() and not line.lstrip().startswith("#"):
            if len(_indentation(line)) <= 2 * depth:
                break
            last = number
    return last + 1


def _is_filled(block: list[str]) -> bool:
    """Whether the value of the block's key is a non-empty mapping, to which a key can be added."""
    (value,) = yaml.safe_load("\n".join(line.removeprefix(_indentation(block[0])) for line in block)).values()
    return isinstance(value, dict) and bool(value)


def _indentation(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _rendered(names: tuple[str, ...], value: Any, depth: int) -> list[str]:
    """Lines of nested new keys, the last of which has the value."""
    for name in reversed(names):
        value = {name: value}
    text = yaml.dump(value, Dumper=_Indented, default_flow_style=False, sort_keys=False, width=1000)
    return ["  " * depth + line for line in text.splitlines()]


class _Indented(yaml.SafeDumper):
    """Indents lists by two spaces below their key, as in params.yaml."""

    def increase_indent(self, flow: bool = False, indentless: bool = False):
        return super().increase_indent(flow, False)
