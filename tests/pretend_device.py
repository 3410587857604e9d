"""A GPU for tests on a machine that has none: `with pretend("cuda"):` refuses what a real one would refuse.

Everything is computed on the CPU. What is pretended is where a tensor lies: each storage (the memory behind a
tensor, which its views share) is marked with a device, and two layers of PyTorch are listened to:

- `_Calls`, a TorchFunctionMode, sees what Python calls, above autograd: it answers `tensor.device`, moves tensors
  (`to`, `cpu`, `cuda`), reads `device=` of what makes a tensor, and refuses to give a GPU's tensor to numpy.
- `_Kernels`, a TorchDispatchMode, sees every operation below autograd, those of the way back too: it refuses
  tensors of two devices in one operation, and marks what comes out.

Not pretended: speed, rounding, half precision, kernels that one device lacks, cuDNN's own rules.
Devices must be compared with ==. torch's FakeTensorMode, meta and PrivateUse1 devices compute nothing.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import CodeType
from typing import Any, NamedTuple

import pytest
import torch
import torch._dynamo  # its import asks torch for functions, which must not be the pretended ones
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CPU = torch.device("cpu")
UNKNOWN_TO_MPS = (torch.float64, torch.complex128)
MOVES = (Tensor.to, Tensor.cpu, Tensor.cuda)
TO_NUMPY = (Tensor.numpy, Tensor.__array__)
WAY_BACK = (Tensor.backward, torch.autograd.grad)
ENGINE = torch.autograd.graph._engine_run_backward.__code__  # the last Python before autograd's own way back
MAY_ALIAS = (torch.as_tensor, torch.asarray)  # what they return may be the memory that they were given
KIND = {Tensor.is_cpu.__get__: "cpu", Tensor.is_cuda.__get__: "cuda", Tensor.is_mps.__get__: "mps"}
ANY_INDEX = (
    "index",
    "index_put",
    "index_put_",
    "_index_put_impl_",
    "_unsafe_index",
)  # on a GPU also take the CPU's

_marks: dict[int, tuple[StorageWeakRef, torch.device]] = {}  # by address of the storage; gone when it is freed


class Pretended(NamedTuple):
    """The device, and the kernels that ran on it."""

    device: torch.device
    kernels: set[torch._ops.OpOverload]


@contextmanager
def pretend(kind: str = "cuda") -> Iterator[Pretended]:
    """Meanwhile this machine has a device of this kind, "cuda" or "mps"."""
    gpu = Pretended(torch.device(kind, 0), set())
    with pytest.MonkeyPatch.context() as patch:
        for module, its_kind in ((torch.cuda, "cuda"), (torch.backends.mps, "mps")):
            patch.setattr(module, "is_available", _answering(kind == its_kind, module.is_available))
        patch.setattr(torch.cuda, "is_bf16_supported", _answering(True, torch.cuda.is_bf16_supported))
        for module in (torch.cuda, torch.mps):
            patch.setattr(module, "get_rng_state", torch.get_rng_state)
            patch.setattr(module, "set_rng_state", torch.set_rng_state)
        # by which torch's optimisers ask a real driver whether it records a graph
        patch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: None)
        patch.setattr(torch.nn.RNNBase, "flatten_parameters", lambda gru: None)  # lays weights out for cuDNN
        patch.setattr(threading.Thread, "run", _running_with(gpu, threading.Thread.run))
        with _modes(gpu):
            yield gpu


@contextmanager
def _modes(gpu: Pretended) -> Iterator[None]:
    calls = _Calls(gpu.device)
    with calls, _Kernels(calls, gpu.kernels):
        yield


def _answering(answer: bool, question: Callable[[], bool]) -> Callable[[], bool]:
    return wraps(question)(lambda: answer)


def _running_with(gpu: Pretended, run: Any) -> Any:
    """Modes hold for one thread: a new one begins with its own."""

    def run_pretending(thread: threading.Thread) -> None:
        with _modes(gpu):
            run(thread)

    return run_pretending


def device_of(tensor: Tensor) -> torch.device:
    """Where a tensor pretends to be."""
    kept, device = _marks.get(tensor.untyped_storage()._cdata, (None, CPU))
    return tensor.device if kept is None or kept.expired() else device


def _mark(tensor: Tensor, device: torch.device) -> Tensor:
    if device.type == "mps" and tensor.dtype in UNKNOWN_TO_MPS:
        raise TypeError(f"Cannot convert a MPS Tensor to {tensor.dtype} as the MPS framework doesn't support it")
    storage = tensor.untyped_storage()
    _marks[storage._cdata] = StorageWeakRef(storage), device
    return tensor


def _tensors(*values: Any) -> list[Tensor]:
    """Those in lists, tuples and dicts too; torch's own tree_leaves takes several times as long."""
    tensors = []
    for value in values:
        if isinstance(value, Tensor):
            tensors.append(value)
        elif isinstance(value, list | tuple):
            tensors += _tensors(*value)
        elif isinstance(value, dict):
            tensors += _tensors(*value.values())
    return tensors


def _common(tensors: list[Tensor]) -> torch.device:
    """The device on which an operation of these tensors runs: a GPU if any of them is there."""
    devices = [device_of(device) for device in tensors]
    return next((device for device in devices if device != CPU), CPU)


class _Moved(torch.autograd.Function):
    """A copy on another device; the gradient goes back to where the tensor was."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, device: torch.device) -> Tensor:
        ctx.home = device_of(tensor)
        return _mark(tensor.detach().clone(), device)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _mark(gradient.detach().clone(), ctx.home), None


class _Calls(TorchFunctionMode):
    """What Python asks of torch. A mode is off while it handles a call, so that `function` is torch's own here."""

    def __init__(self, gpu: torch.device) -> None:
        super().__init__()
        self.gpu = gpu
        # for tensors that torch makes of nothing: the device of the call that is being handled, and of the way back
        self.inside, self.way_back = [CPU], CPU

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function == Tensor.device.__get__:
            return device_of(args[0])
        if function in KIND:
            return device_of(args[0]).type == KIND[function]
        if function in TO_NUMPY and device_of(args[0]) != CPU:
            raise TypeError(f"can't convert {device_of(args[0])} device type tensor to numpy. Use Tensor.cpu()")
        if function in MOVES:
            return self._moved(function, args, kwargs)
        if function in WAY_BACK:
            self.way_back = _common(_tensors(args[0]))
            return function(*args, **kwargs)
        if function is Tensor.__deepcopy__:
            return _mark(function(*args, **kwargs), device_of(args[0]))
        if kwargs.get("device") is None or torch.device(kwargs["device"]).type == "meta":
            return self._handled(function, args, kwargs)
        return self._made(function, args, kwargs | {"device": CPU}, self._real(kwargs["device"]))

    def _handled(self, function: Any, args: Any, kwargs: Any) -> Any:
        self.inside.append(_common(_tensors(args, kwargs)))
        try:
            return function(*args, **kwargs)
        finally:
            self.inside.pop()

    def _made(self, function: Any, args: Any, kwargs: Any, device: torch.device) -> Tensor:
        """What makes a tensor on a device that it is told."""
        if function in MAY_ALIAS and isinstance(args[0], Tensor):
            return self._moved(Tensor.to, (args[0], device), {"dtype": kwargs.get("dtype")})
        if device != CPU and kwargs.get("generator") is not None:
            raise RuntimeError(f"Expected a '{device.type}' device type for generator but found 'cpu'")
        made = self._handled(function, args, kwargs)
        return _mark(made.clone() if function in MAY_ALIAS else made, device)

    def _moved(self, function: Any, args: Any, kwargs: Any) -> Tensor:
        tensor, *others = args
        others += [kwargs[name] for name in ("device", "dtype", "other") if kwargs.get(name) is not None]
        device = {Tensor.cpu: CPU, Tensor.cuda: self.gpu}.get(function)
        for one in others:
            if isinstance(one, Tensor):
                device, tensor = device_of(one), tensor.to(one.dtype)
            elif isinstance(one, torch.dtype):
                tensor = tensor.to(one)
            elif isinstance(one, str | torch.device):
                device = self._real(one)
        return tensor if device is None or device == device_of(tensor) else _Moved.apply(tensor, device)

    def _real(self, device: Any) -> torch.device:
        """The device that a name stands for: "cuda" is cuda:0."""
        asked = torch.device(device)
        if asked.type not in ("cpu", self.gpu.type):
            raise AssertionError(f"this machine has no {asked}")
        return CPU if asked.type == "cpu" else self.gpu


class _Kernels(TorchDispatchMode):
    """What is computed, and where."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Else torch imports its compiler, which takes 6 s, to keep it away from here."""
        return False

    def __init__(self, calls: _Calls, ran: set[torch._ops.OpOverload]) -> None:
        super().__init__()
        self.calls, self.ran = calls, ran

    def __torch_dispatch__(self, kernel: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = _tensors(args, kwargs)
        if any(one.device.type == "meta" for one in given) or kwargs.get("device") == torch.device("meta"):
            return kernel(*args, **kwargs)
        device = _common(given) if given else self._within(sys._getframe(1).f_code)
        if kernel._schema.name not in ("aten::copy_", "aten::_to_copy"):
            self._check(kernel, args, kwargs, device)
        answer = kernel(*args, **kwargs)
        if device != CPU:
            self.ran.add(kernel)
        old = {id(one) for one in given}
        for number, one in enumerate(_tensors(answer)):
            if id(one) not in old:
                lengths = number == 1 and kernel._schema.name == "aten::_pack_padded_sequence"
                _mark(one, CPU if lengths else device)
        return answer

    def _within(self, caller: CodeType) -> torch.device:
        """Where torch makes a tensor of nothing; Python on the way back (an autograd.Function's): on the CPU."""
        return self.calls.way_back if caller is ENGINE else self.calls.inside[-1]

    def _check(self, kernel: Any, args: Any, kwargs: Any, device: torch.device) -> None:
        """Every tensor must be on the device; CUDA also takes numbers, and indices of its tensors, from the CPU."""
        name, schema = kernel._schema.name.removeprefix("aten::"), kernel._schema.arguments
        named = [(one, value) for one, value in zip(schema, args, strict=False)]
        named += [(one, kwargs[one.name]) for one in schema if one.name in kwargs]
        for argument, value in named:
            if isinstance(value, torch.Generator) and device != CPU:
                raise RuntimeError(f"{name}: Expected a '{device.type}' device type for generator but found 'cpu'")
            written = argument.alias_info is not None and argument.alias_info.is_write
            for tensor in _tensors(value):
                number = value is tensor and tensor.dim() == 0 and not written
                index = name in ANY_INDEX and argument.name == "indices" and device_of(args[0]) == device
                lengths = name == "_pack_padded_sequence" and argument.name == "lengths"
                found = device_of(tensor)
                if found != device and not (found == CPU and (number or index or lengths)):
                    raise RuntimeError(
                        "Expected all tensors to be on the same device, but found at least two devices, "
                        f"{device} and {found}! ({name}: {argument.name})"
                    )
