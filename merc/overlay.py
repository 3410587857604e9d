"""Other values in a YAML text, line by line, so that every comment stays where it is.

For block style as in params.yaml: two spaces a level, a key a line, comments on lines of their own above.
"""

from typing import Any

import yaml


def merged(base: Any, over: Any) -> Any:
    """The values of `over` where it has some; a mapping is merged key by key, a list is replaced."""
    if isinstance(base, dict) and isinstance(over, dict) and over:
        return {**base, **{name: merged(base.get(name), value) for name, value in over.items()}}
    return over


def overlaid(text: str, over: dict[str, Any]) -> str:
    """The text with the values of `over`; what is new comes last in its mapping."""
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
    """Replace the value under a path; where a parent is missing it is made."""
    first, end = 0, len(lines)
    for depth, name in enumerate(path):
        place = _find(lines, first, end, depth, name)
        if place is None:
            return [*lines[:end], *_rendered(path[depth:], value, depth), *lines[end:]]
        if depth == len(path) - 1:
            return [*lines[:place], *_rendered((name,), value, depth), *lines[_end(lines, place, end, depth) :]]
        last = _end(lines, place, end, depth)
        if not _is_filled(lines[place:last]):
            lines = [*lines[:place], f"{'  ' * depth}{name}:", *lines[last:]]
            last = place + 1
        first, end = place + 1, last
    raise ValueError("an empty path")


def _find(lines: list[str], first: int, end: int, depth: int, name: str) -> int | None:
    wanted = f"{'  ' * depth}{name}:"
    return next((at for at in range(first, end) if lines[at] == wanted or lines[at].startswith(wanted + " ")), None)


def _end(lines: list[str], place: int, limit: int, depth: int) -> int:
    """One past the last line below a key; comments and blank lines before the next key are the next key's."""
    last = place
    for at in range(place + 1, limit):
        line = lines[at]
        if line.strip() and not line.lstrip().startswith("#"):
            if len(_margin(line)) <= 2 * depth:
                break
            last = at
    return last + 1


def _is_filled(block: list[str]) -> bool:
    """Whether the key of this block holds a mapping with keys; anything else goes before a key can come below."""
    (value,) = yaml.safe_load("\n".join(line.removeprefix(_margin(block[0])) for line in block)).values()
    return isinstance(value, dict) and bool(value)


def _margin(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _rendered(names: tuple[str, ...], value: Any, depth: int) -> list[str]:
    """The lines of new keys, one in the other, and of the value in the last."""
    for name in reversed(names):
        value = {name: value}
    text = yaml.dump(value, Dumper=_Indented, default_flow_style=False, sort_keys=False, width=1000)
    return ["  " * depth + line for line in text.splitlines()]


class _Indented(yaml.SafeDumper):
    """Lists two spaces inside their key, as in params.yaml."""

    def increase_indent(self, flow: bool = False, indentless: bool = False):
        return super().increase_indent(flow, False)
