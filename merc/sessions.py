"""onnxruntime on an ONNX file, on one thread."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from merc.problem import Problem


class Session:
    """A file that answers: arrays in by name, arrays out by name."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        if not path.is_file():
            raise Problem(f"{path}: not there: this model was exported without ONNX; export it again, or use torch")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; a file that others optimised is no matter of the user's
        try:
            self.run = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run
        except Exception as error:  # onnxruntime has a class for each kind of damage, of no common base
            raise Problem(f"{path}: onnxruntime cannot read it ({' '.join(str(error).split())[:120]})") from None
        owner = self.run.__self__
        self.inputs = [one.name for one in owner.get_inputs()]
        self.outputs = [one.name for one in owner.get_outputs()]

    def __call__(self, given: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """What the file does not ask for is left out."""
        asked = {name: np.ascontiguousarray(given[name]) for name in self.inputs}
        return dict(zip(self.outputs, self.run(None, asked), strict=True))
