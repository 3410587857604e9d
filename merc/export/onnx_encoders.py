"""Text encoders as ONNX: the language model and its tokenizer, which load without transformers.

transformers' import of BERT and of a tokenizer takes 3 s of processor time, as much as all else of `merc predict`.
"""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from merc.encoders.base import factory
from merc.encoders.base.encoder import Encoder
from merc.encoders.text import TextEncoding
from merc.encoders.text.language_model import LastHidden
from merc.encoders.text.language_model_encoder import LanguageModelEncoder, SpecialTokens
from merc.export import bundle, onnx_files
from merc.export.bundle import REMEDY
from merc.export.onnx_files import OnnxSession
from merc.runtime import results
from merc.runtime.errors import UserError

TOLERANCE = 1e-3  # maximum difference of a feature; beyond it the export is rejected
LENGTHS = (1, 9, 30)  # tokens of the lines compared; different from the length of the traced example
INPUTS = ("input_ids", "attention_mask")
HIDDEN = "hidden"
TOKENIZER, SPECIAL_TOKENS = "tokenizer.json", "special_tokens.json"


class OnnxLanguageModel(nn.Module):
    """Replaces the network of a text encoder by an ONNX file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.session = OnnxSession(path)
        self.dim = self.session.width(HIDDEN)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        inputs = {"input_ids": input_ids.numpy(), "attention_mask": attention_mask.numpy()}
        return torch.from_numpy(self.session(inputs)[HIDDEN])


def export_text_encoder(folder: Path, encoder: Encoder) -> str | None:
    """Export a text encoder at both precisions; return the reason if it is another encoder or does not export."""
    if not isinstance(encoder, LanguageModelEncoder):
        return "computed by torch: no network of words"
    ids = 1 + torch.arange(21).reshape(3, 7)
    example = dict(zip(INPUTS, (ids, (ids % 7 != 0).long()), strict=True))
    axes = {name: {0: "lines", 1: "tokens"} for name in (*INPUTS, HIDDEN)}
    try:
        if isinstance(encoder.model, LastHidden):
            # fused, it exports a square root of a constant, which the exporter computes by torch.sqrt: not portable
            encoder.model.use_eager_attention()
        onnx_files.export_both_precisions(folder, encoder.model, example, [HIDDEN], axes)
        difference = _difference(encoder.model, OnnxLanguageModel(folder / onnx_files.FULL))
    except Exception as error:  # errors of tracing third-party models have no common base class
        return _delete_files(folder, f"does not export: {type(error).__name__}")
    if not difference <= TOLERANCE:
        return _delete_files(folder, f"exports {difference:.0e} off")
    encoder.tokenizer.save(str(folder / TOKENIZER))
    results.write_json(folder / SPECIAL_TOKENS, asdict(encoder.special))
    return None


def load_text_encoder(path: Path, description: dict[str, Any]) -> LanguageModelEncoder:
    """The text encoder of an ONNX file; `description` as of needed_encoders.describe_encoder."""
    model = OnnxLanguageModel(path)
    tokenizer = _tokenizer(path.with_name(TOKENIZER))
    special = _special_tokens(path.with_name(SPECIAL_TOKENS), tokenizer.get_vocab_size())
    section = cast(TextEncoding, factory.exported_section("text", description))
    encoder = LanguageModelEncoder(description["encoder"], model, model.dim, tokenizer, special, section.window)
    if (shape := encoder.eval().blank.shape) != (1, model.dim):
        raise UserError(f"{path}: an empty text has features of the shape {shape}; {REMEDY}")
    return encoder


def _tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no other class
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: holds no tokenizer ({reason}); {REMEDY}") from None


def _special_tokens(path: Path, size: int) -> SpecialTokens:
    """The special tokens, each below the `size` of the vocabulary."""
    content = bundle.read_description(path)
    names = [field.name for field in fields(SpecialTokens)]
    if not isinstance(content, dict) or sorted(content) != sorted(names):
        raise UserError(f"{path}: holds other keys than {', '.join(names)}; {REMEDY}")
    for name, token in content.items():
        is_none = token is None and name != "padding"
        if not is_none and (type(token) is not int or not 0 <= token < size):
            raise UserError(
                f"{path}: {name} = {str(token)[:40]}: a token of the vocabulary, 0 to {size - 1}; {REMEDY}"
            )
    return SpecialTokens(**content)


@torch.inference_mode()
def _difference(model: nn.Module, other: nn.Module) -> float:
    """The largest absolute difference of a feature, over pairs of lines of which the second is padded."""
    differences = []
    for length in LENGTHS:
        ids = 1 + torch.arange(2 * length).reshape(2, length)
        mask = torch.ones_like(ids)
        mask[1, (length + 1) // 2 :] = 0
        difference = (model(ids, mask) - other(ids, mask)).abs().amax(-1)[mask.bool()]
        differences.append(float(difference.max()))
    return max(differences)


def _delete_files(folder: Path, reason: str) -> str:
    """Delete the ONNX files and an empty folder; return the reason."""
    for name in (onnx_files.FULL, onnx_files.REDUCED):
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    return reason
