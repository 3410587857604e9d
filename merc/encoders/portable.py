"""Encoders as ONNX: the network inside a text encoder; its tokens are read as before."""

from pathlib import Path

import torch
from torch import Tensor, nn

from merc import onnxfiles
from merc.encoders.encoder import Encoder
from merc.encoders.words import Words
from merc.sessions import Session

TOLERANCE = 1e-3  # of features; larger is another encoder
LENGTHS = (1, 9, 30)  # tokens of the comparison; none of them is that of the example
INPUTS = ("input_ids", "attention_mask")
HIDDEN = "hidden"


class Answering(nn.Module):
    """Stands where a text encoder's network stood, and asks onnxruntime."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.session = Session(path)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        given = {"input_ids": input_ids.numpy(), "attention_mask": attention_mask.numpy()}
        return torch.from_numpy(self.session(given)[HIDDEN])


def write(folder: Path, encoder: Encoder) -> str | None:
    """Both files of a text encoder; of any other encoder, and of one that does not export, the reason."""
    if not isinstance(encoder, Words):
        return "computed by torch: no network of words"
    ids = 1 + torch.arange(21).reshape(3, 7)
    example = dict(zip(INPUTS, (ids, (ids % 7 != 0).long()), strict=True))
    axes = {name: {0: "lines", 1: "tokens"} for name in (*INPUTS, HIDDEN)}
    try:
        onnxfiles.both(folder, encoder.model, example, [HIDDEN], axes)
        difference = _difference(encoder.model, Answering(folder / onnxfiles.FULL))
    except Exception as error:  # what stands in the way of tracing a foreign model has no common class
        return _without(folder, f"does not export: {type(error).__name__}")
    return _without(folder, f"exports {difference:.0e} off") if not difference <= TOLERANCE else None


def exchange(encoder: Encoder, path: Path) -> Encoder:
    """The encoder with its network computed by onnxruntime, where it was exported."""
    if path.is_file():
        encoder.model = Answering(path)
    return encoder


@torch.inference_mode()
def _difference(own: nn.Module, other: nn.Module) -> float:
    """The largest of any feature, over lines of several lengths, one of which ends earlier."""
    differences = []
    for length in LENGTHS:
        ids = 1 + torch.arange(2 * length).reshape(2, length)
        seen = torch.ones_like(ids)
        seen[1, (length + 1) // 2 :] = 0
        difference = (own(ids, seen) - other(ids, seen)).abs().amax(-1)[seen.bool()]
        differences.append(float(difference.max()))
    return max(differences)


def _without(folder: Path, reason: str) -> str:
    for name in (onnxfiles.FULL, onnxfiles.REDUCED):
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    return reason
