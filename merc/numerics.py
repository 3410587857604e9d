"""`numerics` in params.yaml: portable = the same numbers on every Linux x86-64 processor with AVX2, or fast.

The libraries below choose their kernels by the processor's instruction sets and maker. What these kernels compute
differs in the last digits, and training turns such digits into other scores. Each variable names a choice that all
those processors have, and must be set before its library is loaded (docs/log.md: how they were found, the cost):

- ATen, PyTorch's own kernels: AVX2 instead of AVX-512.
- oneDNN (convolutions): the same.
- MKL (matrix products, exp, log, Fourier transforms): its AVX2 branches differ between makers, COMPATIBLE does not.
  Its square roots and inverse trigonometric functions of tensors differ even so: see `square_root`.
- OpenBLAS (numpy, scipy): kernels for Haswell, the first processor with AVX2.
- numpy: no kernel beyond those that every x86-64 processor has; even the order of an unstable argsort differs.
- OpenCV: AVX2 instead of AVX-512.

Some float32 functions of the C library (tanh, atan, log1p, expm1) differ between glibc 2.36 and 2.41, its float64
functions do not. Numpy calls them, and PyTorch does in softplus and in gelu's tanh approximation: no stage does.
FFmpeg (in PyAV) has no such switch; what we decode and convert came out equal on all processors tried.
An accelerator's numbers are its own.
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
PARAMS = Path("params.yaml")  # merc.params, which checks the value, is for later: this runs before anything else
CPU_INFO = Path("/proc/cpuinfo")

# Several threads on two busy cores cost 25 times, and OpenCV's pool does not survive a fork: a worker process that
# inherits it waits for ever.
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
WITHOUT_AVX512 = {"OPENCV_CPU_DISABLE": "AVX512-SKX"}  # OpenCV complains about what the processor has not


def pin() -> None:
    """One thread for this process and its workers, and portable kernels if params.yaml asks for them."""
    os.environ |= ONE_THREAD
    if chosen() == "portable" and "avx2" in instructions():
        os.environ |= PORTABLE
        if "avx512f" in instructions():
            os.environ |= WITHOUT_AVX512


def chosen() -> str:
    """The value in params.yaml; portable where there is none that can be read: whoever needs it will say so."""
    try:
        document = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        document = None
    value = document.get("numerics") if isinstance(document, dict) else None
    return value if value == "fast" else "portable"


def warning(device: str = "cpu") -> str | None:
    """One line for who asks for portable numbers and cannot have them."""
    if chosen() != "portable":
        return None
    if device != "cpu":
        return f"numerics: portable holds on a CPU; {device} gives other numbers, from the third digit on"
    if "avx2" in instructions():
        return None
    return (
        f"numerics: portable needs Linux on an x86-64 processor with AVX2; on this machine ({sys.platform}, "
        f"{platform.machine()}) numbers differ from the committed ones, from the third digit on"
    )


@cache
def instructions() -> frozenset[str]:
    """The processor's instruction sets, as Linux names them; none where portable numbers are not to be had."""
    if sys.platform != "linux" or platform.machine() != "x86_64" or not CPU_INFO.is_file():
        return frozenset()
    flags = (line for line in CPU_INFO.read_text(encoding="utf-8").splitlines() if line.startswith("flags"))
    return frozenset(next(flags, "").partition(":")[2].split())


def square_root(values: "Tensor") -> "Tensor":
    """The square root to within a digit in the last place, without MKL, whose own depends on the processor."""
    return values.rsqrt().reciprocal()
