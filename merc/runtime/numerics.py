"""Reproducible floating point across processors: `numerics` in params.yaml.

portable = the same numbers on every Linux x86-64 processor with AVX2; fast = whatever the libraries choose.

The libraries below choose their kernels by the processor's instruction sets and vendor. The kernels' results differ
in the last digits, and training amplifies such differences into different scores. Each environment variable selects
kernels that all these processors have, and must be set before its library is loaded (docs/log.md: how they were
determined, what they cost):

- ATen, PyTorch's own kernels: AVX2 instead of AVX-512.
- oneDNN (convolutions): the same.
- MKL (matrix products, exp, log, Fourier transforms): COMPATIBLE, since its AVX2 code paths differ between vendors.
  Its square roots and inverse trigonometric functions of tensors differ nevertheless: see `square_root`.
- OpenBLAS (numpy, scipy): kernels for Haswell, the first processor with AVX2.
- numpy: only the kernels that every x86-64 processor has; with others even the order of an unstable argsort may
  differ (not measured).
- OpenCV: AVX2 instead of AVX-512.

Some float32 functions of the C library (tanh, atan, log1p, expm1) differ between glibc 2.36 and 2.41, its float64
functions do not. Numpy calls them, and so does PyTorch in softplus and in gelu's tanh approximation; no stage uses
these.
FFmpeg (in PyAV) has no such switch. Natively (Intel, AVX-512) and emulated as Haswell-noTSX, decoding, scaling and
resampling gave the same bytes; emulated as EPYC-Rome only the encoding of the sample corpus was compared.
An accelerator (GPU) gives numbers of its own.
"""

import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import yaml

if TYPE_CHECKING:
    from torch import Tensor

Numerics = Literal["portable", "fast"]
# merc.runtime.params, which validates the value, is imported later: this module runs before any other
PARAMS = Path("params.yaml")
CPU_INFO = Path("/proc/cpuinfo")

# Several threads on two busy cores are 25 times slower, and OpenCV's thread pool does not survive a fork: a worker
# process that inherits it waits for ever.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
PORTABLE = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "FMA3 AVX2 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR",
}
WITHOUT_AVX512 = {"OPENCV_CPU_DISABLE": "AVX512-SKX"}  # set only where AVX-512 exists: OpenCV warns otherwise


def pin() -> None:
    """Set the environment of this process and its workers."""
    os.environ |= environment()


def environment() -> dict[str, str]:
    """What every process that computes has in its environment: one thread, and portable kernels if configured."""
    if configured_mode() != "portable" or "avx2" not in cpu_flags():
        return ONE_THREAD
    return ONE_THREAD | PORTABLE | (WITHOUT_AVX512 if "avx512f" in cpu_flags() else {})


def configured_mode() -> str:
    """Value of `numerics` in params.yaml; portable if unreadable, which is reported on validation."""
    try:
        return _mode(PARAMS.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "portable"


@cache
def _mode(text: str) -> str:
    """The mode in a text of params.yaml; kept, since encoders ask for it at every batch and parsing takes 20 ms."""
    try:
        document = yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        document = None
    value = document.get("numerics") if isinstance(document, dict) else None
    return value if value == "fast" else "portable"


def portability_warning(device: str = "cpu") -> str | None:
    """Message for a user who asks for portable numbers on a device or machine that cannot give them, else None."""
    if configured_mode() != "portable":
        return None
    if device != "cpu":
        return f"numerics: portable holds on a CPU; {device} gives other numbers"
    if "avx2" in cpu_flags():
        return None
    return (
        f"numerics: portable needs Linux on an x86-64 processor with AVX2; on this machine ({sys.platform}, "
        f"{platform.machine()}) numbers differ from the committed ones"
    )


@cache
def cpu_flags() -> frozenset[str]:
    """CPU flags of /proc/cpuinfo; empty where portable numbers are not available (no Linux, no x86-64)."""
    if sys.platform != "linux" or platform.machine() != "x86_64" or not CPU_INFO.is_file():
        return frozenset()
    flags = (line for line in CPU_INFO.read_text(encoding="utf-8").splitlines() if line.startswith("flags"))
    return frozenset(next(flags, "").partition(":")[2].split())


def square_root(values: "Tensor") -> "Tensor":
    """Square root to within one unit in the last place, without MKL, whose result depends on the processor."""
    return values.rsqrt().reciprocal()
