"""Safe unpickling of numpy arrays and plain containers: nothing else is loaded, and no code is run."""

import io
import pickle
import pickletools
import re
from collections import OrderedDict, defaultdict
from typing import Any

import numpy as np

from merc.encoders.imported.formats.budget import Budget
from merc.runtime.errors import UserError

ARRAY_KINDS = "biufOUS"  # allowed kinds of numpy dtypes; structured dtypes are not among them
PLAIN_TYPES = {  # types of plain containers and numbers
    **{("builtins", kind.__name__): kind for kind in (list, dict, set, frozenset, tuple, int, float, bool)},
    ("builtins", "long"): int,  # Python 2
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
}
ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")  # before and since numpy 2
NUMERIC_MODULES = ("numpy.core.numeric", "numpy._core.numeric")

# objects that an opcode makes, in Budget's; 1 if not listed
OBJECTS = {**dict.fromkeys((b"\x8f", b"\x91"), 4), **dict.fromkeys((b"R", b"\x81", b"\x92", b"o", b"i"), 8)}
CONTAINERS = re.compile(rb"[]}ldt\x85\x86\x87]+")
MAKERS = (*OBJECTS, *(bytes([code]) for code in b"]}ldt\x85\x86\x87."))
NUMBER_RATIO = 12  # bytes in memory a byte of the opcodes that make no container and no string: M, a short number
MEMO_BYTES = 16  # a place of the memo, which is doubled when it is full
_LENGTHS = {  # pickletools' code for the width of an argument's length -> that width, negative
    pickletools.TAKEN_FROM_ARGUMENT1: -1,
    pickletools.TAKEN_FROM_ARGUMENT4: -4,
    pickletools.TAKEN_FROM_ARGUMENT4U: -4,
    pickletools.TAKEN_FROM_ARGUMENT8U: -8,
    pickletools.UP_TO_NEWLINE: 0,
}


def _argument(opcode: pickletools.OpcodeInfo) -> tuple[int, int]:
    """Width of an opcode's argument, or of its length as a negative number; number of lines."""
    if opcode.arg is None:
        return 0, 0
    lines = 2 if opcode.arg is pickletools.stringnl_noescape_pair else 1
    return _LENGTHS.get(opcode.arg.n, opcode.arg.n), lines if opcode.arg.n == pickletools.UP_TO_NEWLINE else 0


ARGUMENTS = {opcode.code.encode("latin1"): _argument(opcode) for opcode in pickletools.opcodes}
UNCOUNTED = re.compile(  # possessive: a run of any length takes no memory
    b"(?:%s)*+"
    % b"|".join(
        re.escape(code) + b".{%d}" % width
        for code, (width, lines) in ARGUMENTS.items()
        if width >= 0 and not lines and code not in MAKERS and code != b"r"
    ),
    re.DOTALL,
)


class SafeDtype:
    """Stand-in for a numpy dtype during unpickling: a real dtype would accept any state."""

    __slots__ = ("real",)

    def __init__(self, code: Any) -> None:
        code = str(code).lstrip("<>=|")
        if code[:1] not in ARRAY_KINDS or not (code[1:].isdigit() or not code[1:]) or len(code) > 8:
            raise UserError(f"holds an array of the type {code!r}; numbers, words and lists alone are read")
        self.real = np.dtype(object if code[0] == "O" else code)

    def __setstate__(self, state: Any) -> None:
        """Take only the byte order of the state."""
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">") and not self.real.hasobject:
            self.real = self.real.newbyteorder(state[1])


class SafeArray:
    """Stand-in for a numpy array during unpickling."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = np.zeros(0)

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise UserError("holds an array without a content")
        shape, dtype, fortran, content = state[-4:]
        self.value = _array(_checked_shape(shape), _dtype(dtype), content, "F" if fortran else "C")


class SafeUnpickler(pickle.Unpickler):
    """Unpickler of numpy arrays and plain containers; raises a UserError for any other global name."""

    def __init__(self, content: bytes, budget: Budget) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self.budget = budget

    def find_class(self, module: str, name: str) -> Any:
        """The type or safe replacement for a global name in the pickle."""
        if (module, name) in PLAIN_TYPES:
            return PLAIN_TYPES[module, name]
        replacements = {
            **{(numpy_module, "_reconstruct"): self.empty for numpy_module in ARRAY_MODULES},
            **{(numpy_module, "scalar"): self.scalar for numpy_module in ARRAY_MODULES},
            **{(numpy_module, "_frombuffer"): self.buffer for numpy_module in NUMERIC_MODULES},
            ("numpy", "dtype"): self.kind,
            ("numpy", "ndarray"): "numpy.ndarray",
            ("_codecs", "encode"): self.latin1,
        }
        if (module, name) not in replacements:
            raise UserError(
                f"asks for {module}.{name}; only numpy arrays and plain containers are read, nothing was run"
            )
        return replacements[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise UserError(
            f"asks for an object outside of it ({str(pid)[:40]}); save the tensors with torch.save as .pt"
        )

    # bound methods instead of functions: a pickle cannot set attributes on them
    def kind(self, code: Any, align: Any = False, copy: Any = True) -> SafeDtype:
        """Replaces numpy.dtype."""
        return SafeDtype(code)

    def empty(self, kind: Any, shape: Any, code: Any) -> SafeArray:
        """Replaces numpy's _reconstruct: an empty array, which its state fills."""
        if kind != "numpy.ndarray":
            raise UserError("holds an array of a type of its own; numpy.ndarray alone is read")
        return SafeArray()

    def scalar(self, kind: Any, content: Any = None) -> Any:
        """Replaces numpy's scalar: one number."""
        dtype = _dtype(kind)
        return content if dtype.hasobject else _array((1,), dtype, content, "C")[0].item()

    def buffer(self, content: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
        """Replaces numpy's _frombuffer: an array of protocol 5."""
        return _array(_checked_shape(shape), _dtype(kind), content, "F" if order == "F" else "C")

    def latin1(self, text: Any, encoding: Any = "latin1") -> bytes:
        """Replaces _codecs.encode, by which Python 3 writes bytes in protocols 0 to 2."""
        if encoding not in ("latin1", "latin-1") or not isinstance(text, str):
            raise UserError(f"asks for the codec {str(encoding)[:40]}; latin1 alone is read")
        self.budget.take(len(text))
        return text.encode("latin1")


def load(content: bytes, budget: Budget) -> Any:
    """Load a pickle of any protocol, including those of Python 2."""
    _count_opcodes(content, budget)
    return SafeUnpickler(content, budget).load()


def _count_opcodes(content: bytes, budget: Budget) -> None:
    """Count the objects that a pickle makes; refuse a memo index beyond its size, which would take memory."""
    position, highest = 0, 0
    while position < len(content):
        begin = position
        if match := UNCOUNTED.match(content, position):
            position = match.end()
            budget.take(NUMBER_RATIO * (position - begin))
        if match := CONTAINERS.match(content, position):
            budget.take_objects(match.end() - position)
            position = match.end()
            continue
        code = content[position : position + 1]
        if code in (b"", b"."):
            return
        budget.take_objects(OBJECTS.get(code, 1))
        width, lines = ARGUMENTS.get(code, (0, 0))
        begin = position = position + 1
        for _ in range(lines):
            position = content.find(b"\n", position) + 1 or len(content)
        if width < 0:
            position += int.from_bytes(content[position : position - width], "little") - width
        else:
            position += width
        if code in (b"p", b"r"):
            index = (
                int(content[begin:position]) if code == b"p" else int.from_bytes(content[begin:position], "little")
            )
            if index > len(content):
                raise UserError(f"names a place {index:,} of its memory, far beyond its size: taken for a trap")
            budget.take(MEMO_BYTES * max(0, index - highest))
            highest = max(highest, index)


def _dtype(kind: Any) -> np.dtype:
    if not isinstance(kind, SafeDtype):
        raise UserError("holds an array without a type")
    return kind.real


def _checked_shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or not all(type(size) is int and 0 <= size < 2**40 for size in shape):
        raise UserError(f"holds an array of the shape {str(shape)[:40]}")
    return shape


def _array(shape: tuple[int, ...], dtype: np.dtype, content: Any, order: Any) -> np.ndarray:
    """Array of this content; raises a UserError if its length does not fit the dtype and shape."""
    count = 1
    for size in shape:
        count *= size
    if dtype.hasobject:
        if not isinstance(content, list) or len(content) != count:
            raise UserError("holds an array of objects whose content is no list of its size")
        array = np.empty(count, object)
        array[:] = content
        return array.reshape(shape, order=order)
    raw = content.encode("latin1") if isinstance(content, str) else content  # str: Python 2
    if not isinstance(raw, (bytes, bytearray)) or len(raw) != count * dtype.itemsize:
        raise UserError(f"holds an array whose content is not the {count * dtype.itemsize} bytes of its shape")
    return np.frombuffer(raw, dtype).reshape(shape, order=order)
