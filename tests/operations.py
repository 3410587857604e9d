"""Digests of some operations, and of a short training, under portable numerics.

Every Linux x86-64 processor with AVX2 must print what tests/operations.json holds: test_numerics.py compares.
After an update of PyTorch, numpy, scipy, scikit-learn or OpenCV, run `PYTHONPATH=. python tests/operations.py >
tests/operations.json` and `make test-processors`.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import stages  # noqa: F401 (pins the numerics, before anything imports torch, numpy or OpenCV)

# isort: split
import cv2
import numpy as np
import packed
import scipy
import torch
import yaml
from numpy.random import default_rng
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional

from merc.data.batches import dataset
from merc.data.records import labels
from merc.data.records.selection import Selection
from merc.runtime.numerics import square_root
from merc.training.core import loop, objectives, supervision
from models.network import Network, NetworkConfig

ROOT = Path(__file__).resolve().parent.parent
RATES = loop.LearningRateScale(text=1.0, audio=1.0, vision=1.0)
OPTIMISATION = loop.OptimisationConfig(
    epochs=2, patience=2, lr=0.002, lr_scale=RATES, optimiser="adamw", schedule="cosine", warmup=0.1,
    weight_decay=0.01, clip=1.0, average=0.9, batch=4, accumulate=1, precision="float32",
)  # fmt: skip


def digests() -> dict[str, str]:
    """By name of the operation."""
    torch.manual_seed(0)
    found = {}
    for group in (of_numpy, of_scipy, of_opencv, of_torch, of_layers, of_training):
        for name, results in group(default_rng(0)):
            found[name] = digest(results)
    return found


def digest(results: tuple) -> str:
    checksum = hashlib.sha256()
    for one in results:
        array = one.detach().numpy() if isinstance(one, Tensor) else np.asarray(one)
        checksum.update(np.ascontiguousarray(array).tobytes())
    return checksum.hexdigest()[:16]


def of_numpy(random: np.random.Generator) -> Iterator[tuple[str, tuple]]:
    for kind in (np.float32, np.float64):
        a = random.standard_normal((301, 203)).astype(kind)
        positive = np.abs(a) + kind(0.001)
        name = f"numpy {kind.__name__}"
        yield (
            f"{name} functions",
            (np.exp(a), np.log(positive), np.sqrt(positive), np.sin(a), np.cos(a)),
        )
        yield f"{name} powers", (kind(10) ** a, positive ** kind(0.37))
        yield f"{name} products", (a @ a.T, a @ a[0], np.einsum("ij,kj->ik", a[:9], a[:11]))
        yield f"{name} sums", (a.sum(), a.sum(0), a.mean(1), a.std(0), np.linalg.norm(a, axis=1), np.cumsum(a, 0))
        yield f"{name} transform", (np.fft.rfft(a),)
        yield f"{name} decompositions", (np.linalg.svd(a[:60, :40])[1], np.linalg.solve(a[:50, :50], a[:50, 0]))
    yield "numpy order", (np.argsort(random.integers(0, 9, 1000)), np.argpartition(random.standard_normal(1000), 9))
    yield "numpy random", (random.standard_normal(999), random.permutation(99), random.gamma(2, 1, 50))


def of_scipy(random: np.random.Generator) -> Iterator[tuple[str, tuple]]:
    a = random.standard_normal((31, 203))
    yield "scipy softmax", (scipy.special.softmax(a, 1), scipy.special.logsumexp(a, 1), scipy.special.stdtr(7, a))
    yield "scipy filters", (scipy.signal.resample_poly(a, 3, 2, axis=1),)
    nll = scipy.optimize.minimize_scalar(lambda t: float(np.log1p(np.exp(a[0] * t)).sum() + t * t))
    yield "scipy minimum", (nll.x,)
    target = random.choice(5, 150)
    points, floor = random.standard_normal((150, 203)) + 0.5 * a[target], LogisticRegression(tol=1e-3)
    yield "scikit-learn regression", (floor.fit(points, target).coef_, floor.decision_function(points))


def of_opencv(random: np.random.Generator) -> Iterator[tuple[str, tuple]]:
    picture = cv2.GaussianBlur(random.integers(0, 255, (270, 360, 3), dtype=np.uint8), (9, 9), 3)
    yield "opencv blur", (picture,)
    sizes = [cv2.resize(picture, (99, 77), interpolation=how) for how in (cv2.INTER_AREA, cv2.INTER_LINEAR)]
    yield "opencv resize", (*sizes, cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    yield "opencv sharpness", (cv2.Laplacian(picture, cv2.CV_64F).var(),)
    yield "opencv jpeg", (cv2.imencode(".jpg", picture)[1],)


def of_torch(random: np.random.Generator) -> Iterator[tuple[str, tuple]]:
    a = torch.from_numpy(random.standard_normal((301, 203)).astype(np.float32))
    positive = a.abs() + 0.001
    yield "torch random", (torch.randn(999), torch.rand(99), torch.randperm(99), functional.dropout(a, 0.3))
    yield "torch exp, log", (a.exp(), positive.log(), a.log1p(), a.softmax(1), a.log_softmax(1), a.logsumexp(1))
    yield (
        "torch activations",
        (a.tanh(), a.sigmoid(), functional.gelu(a), functional.silu(a), functional.logsigmoid(a)),
    )
    yield "torch roots", (positive.rsqrt(), square_root(positive), positive**-0.5, a.norm(dim=1), a.std(0))
    yield "torch cos, sin", (a.cos(), a.sin(), a.double().cos())
    yield "torch products", (a @ a.T, a[:1] @ a.T, a[:3] @ a.T, a @ a[0])
    yield "torch batched products", (torch.einsum("kij,jl->kil", a[:300].view(10, 30, 203), a.T),)
    yield "torch sums", (a.sum(), a.sum(0), a.mean(1), a.cumsum(0), a.double().sum())
    yield "torch transform", (torch.fft.rfft(a).real, torch.fft.rfft(a, 512).imag)
    q = a[:80].view(4, 4, 5, 203)
    yield "torch attention", (functional.scaled_dot_product_attention(q, q, q),)
    yield "torch half precision", (a.half().float(), (a.bfloat16() @ a.bfloat16().T).float())


def of_layers(random: np.random.Generator) -> Iterator[tuple[str, tuple]]:
    """Forward and backward."""

    def drawn(*shape: int) -> Tensor:
        return torch.from_numpy(random.standard_normal(shape).astype(np.float32)).requires_grad_()

    for name, layer, shape in (
        ("linear", nn.Linear(203, 96), (257, 203)),
        ("linear of few rows", nn.Linear(203, 96), (3, 203)),
        ("GRU", nn.GRU(96, 48, bidirectional=True, batch_first=True), (8, 13, 96)),
        ("conv1d", nn.Conv1d(40, 64, 5, padding=2), (16, 40, 99)),
        ("conv2d", nn.Conv2d(3, 16, 3, stride=2), (8, 3, 64, 64)),
        ("layer norm", nn.LayerNorm(96), (50, 96)),
        ("batch norm", nn.BatchNorm2d(16), (8, 16, 32, 32)),
        ("transformer", nn.TransformerEncoderLayer(96, 4, 192, dropout=0, batch_first=True), (4, 20, 96)),
    ):
        given = drawn(*shape)
        answer = layer(given)
        answer = answer[0] if isinstance(answer, tuple) else answer
        answer.square().mean().backward()
        yield f"layer {name}", (answer, given.grad, *(one.grad for one in layer.parameters()))


def of_training(random: np.random.Generator) -> Iterator[tuple[str, tuple]]:
    """The default network, two epochs on 20 dialogues."""
    model = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["model"]
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for seed, split in enumerate(("train", "dev"), start=1):
            packed.write_split(split, seed=seed, dialogues=10)
        train, dev = (
            dataset.read_split(split, ["sample"], model["modalities"], labels.label_space("meld"))
            for split in ("train", "dev")
        )
        os.chdir(before)
    seed = supervision.SeedRandomness.seed_all(1)
    network = Network(NetworkConfig(**model), train.streams, train.heads())
    loop.standardise(network, train)
    tasks = objectives.TaskWeights(emotion=1.0, sentiment=0.5)
    loss = objectives.SupervisedObjective(objectives.LabelLoss.of(train, 0.5, tasks, 0.05), seed.hide(0.3, 0.0))
    batches = seed.batches(train, {"sample": 1.0}, "shuffled", OPTIMISATION.batch)
    score, parts = (
        supervision.DevScore(dev, Selection("emotion", "macro_f1"), subsets=True),
        loop.modality_parts(network, OPTIMISATION),
    )
    history = loop.fit(network, loss, batches, score, OPTIMISATION, parts)
    yield "training loss", tuple(row["train_loss"] for row in history)
    yield "training weights", tuple(network.state_dict().values())
    yield "training logits", tuple(loop.predict(network, dev).values())


if __name__ == "__main__":
    print(json.dumps(digests(), indent=1))
