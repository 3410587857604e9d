"""The field's pickles, without running anything: numpy arrays and plain containers; whatever else is named."""

import io
import pickle
from collections import OrderedDict, defaultdict
from typing import Any

import numpy as np

from merc.problem import Problem

KINDS = "biufOUS"  # of arrays; a structured type can hold what a number cannot
PLAIN = {  # types that build plain containers and numbers, and nothing else
    **{("builtins", kind.__name__): kind for kind in (list, dict, set, frozenset, tuple, int, float, bool)},
    ("builtins", "long"): int,  # Python 2
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
}
ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")  # before and since numpy 2
Unreadable = pickle.UnpicklingError  # what torch.load raises as well
NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")


class Kind:
    """Stands for a numpy type while a pickle is read: a real one would believe any state it is given."""

    __slots__ = ("real",)

    def __init__(self, code: Any) -> None:
        code = str(code).lstrip("<>=|")
        if code[:1] not in KINDS or not (code[1:].isdigit() or not code[1:]) or len(code) > 8:
            raise Problem(f"holds an array of the type {code!r}; numbers, words and lists alone are read")
        self.real = np.dtype(object if code[0] == "O" else code)

    def __setstate__(self, state: Any) -> None:
        """Of the state, the byte order alone is believed."""
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">") and not self.real.hasobject:
            self.real = self.real.newbyteorder(state[1])


class Array:
    """Stands for a numpy array while a pickle is read."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = np.zeros(0)

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise Problem("holds an array without a content")
        shape, kind, fortran, content = state[-4:]
        self.value = _filled(_shape(shape), _kind(kind), content, "F" if fortran else "C")


class Reader(pickle.Unpickler):
    """Knows numpy and plain containers; every other name in a pickle ends it."""

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the pickle stands for here."""
        if (module, name) in PLAIN:
            return PLAIN[module, name]
        own = {
            **{(place, "_reconstruct"): self.empty for place in ARRAYS},
            **{(place, "scalar"): self.scalar for place in ARRAYS},
            **{(place, "_frombuffer"): self.buffer for place in NUMERIC},
            ("numpy", "dtype"): self.kind,
            ("numpy", "ndarray"): "numpy.ndarray",
            ("_codecs", "encode"): self.latin1,
        }
        if (module, name) not in own:
            raise Problem(
                f"asks for {module}.{name}; only numpy arrays and plain containers are read, nothing was run"
            )
        return own[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise Problem(
            f"asks for an object outside of it ({str(pid)[:40]}); save the tensors with torch.save as .pt"
        )

    # bound methods and not functions: a pickle cannot set an attribute on them
    def kind(self, code: Any, align: Any = False, copy: Any = True) -> Kind:
        """numpy.dtype"""
        return Kind(code)

    def empty(self, kind: Any, shape: Any, code: Any) -> Array:
        """The array that a state will fill."""
        if kind != "numpy.ndarray":
            raise Problem("holds an array of a type of its own; numpy.ndarray alone is read")
        return Array()

    def scalar(self, kind: Any, content: Any = None) -> Any:
        """One number."""
        real = _kind(kind)
        return content if real.hasobject else _filled((1,), real, content, "C")[0].item()

    def buffer(self, content: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
        """An array of protocol 5."""
        return _filled(_shape(shape), _kind(kind), content, "F" if order == "F" else "C")

    def latin1(self, text: Any, encoding: Any = "latin1") -> bytes:
        """How Python 3 writes bytes in protocols 0 to 2."""
        if encoding not in ("latin1", "latin-1") or not isinstance(text, str):
            raise Problem(f"asks for the codec {str(encoding)[:40]}; latin1 alone is read")
        return text.encode("latin1")


def load(content: bytes) -> Any:
    """What a pickle of any protocol holds, Python 2's included."""
    return Reader(io.BytesIO(content), encoding="latin1").load()


def _kind(kind: Any) -> np.dtype:
    if not isinstance(kind, Kind):
        raise Problem("holds an array without a type")
    return kind.real


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or not all(type(size) is int and 0 <= size < 2**40 for size in shape):
        raise Problem(f"holds an array of the shape {str(shape)[:40]}")
    return shape


def _filled(shape: tuple[int, ...], kind: np.dtype, content: Any, order: Any) -> np.ndarray:
    """The array, if the content is exactly as long as its type and shape say."""
    count = 1
    for size in shape:
        count *= size
    if kind.hasobject:
        if not isinstance(content, list) or len(content) != count:
            raise Problem("holds an array of objects whose content is no list of its size")
        array = np.empty(count, object)
        array[:] = content
        return array.reshape(shape, order=order)
    raw = content.encode("latin1") if isinstance(content, str) else content  # str: Python 2
    if not isinstance(raw, (bytes, bytearray)) or len(raw) != count * kind.itemsize:
        raise Problem(f"holds an array whose content is not the {count * kind.itemsize} bytes of its shape")
    return np.frombuffer(raw, kind).reshape(shape, order=order)
