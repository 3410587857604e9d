"""Portable numerics: pinned before any library is loaded; the same digits on every processor."""

import ast
import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import loops
import networks
import pytest
import torch
from closure import ROOT, pipeline
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from merc.data.records.encoder_inputs import TextInput
from merc.encoders.base import factory
from merc.runtime import numerics
from merc.runtime.numerics import square_root
from merc.training.core import optim

COMMITTED = ROOT / "tests/operations.json"
AVX2 = "avx2" in numerics.cpu_flags()


@pytest.mark.skipif(not AVX2, reason="not Linux on an x86-64 processor with AVX2: other digits are expected")
def test_this_processor_gives_the_committed_digits():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "tests/operations.py"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    committed, here = json.loads(COMMITTED.read_text(encoding="utf-8")), json.loads(done.stdout)
    assert [name for name in committed if here.get(name) != committed[name]] == []
    assert here == committed


@pytest.mark.parametrize(
    ("asked", "flags", "pinned"),
    [
        ("portable", {"avx2"}, numerics.PORTABLE),
        ("portable", {"avx2", "avx512f"}, numerics.PORTABLE | numerics.WITHOUT_AVX512),
        ("portable", set(), {}),
        ("fast", {"avx2", "avx512f"}, {}),
    ],
)
def test_what_is_pinned(tmp_path, monkeypatch, asked, flags, pinned):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(numerics, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(os, "environ", {})
    Path("params.yaml").write_text(f"numerics: {asked}\n", encoding="utf-8")
    numerics.pin()
    assert os.environ == numerics.ONE_THREAD | pinned


@pytest.mark.parametrize("text", [None, "", "numerics: [", "numerics: 3", "- numerics", "train: {}"])
def test_portable_where_nothing_else_can_be_read(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("params.yaml").write_text(text, encoding="utf-8")
    assert numerics.configured_mode() == "portable"


def test_params_yaml_is_parsed_again_only_when_it_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parsed = []
    parse = numerics.yaml.safe_load
    monkeypatch.setattr(numerics.yaml, "safe_load", lambda text: parsed.append(text) or parse(text))
    for mode in ("fast", "portable"):
        Path("params.yaml").write_text(f"numerics: {mode}  # {tmp_path}\n", encoding="utf-8")
        assert [numerics.configured_mode() for _ in range(3)] == [mode] * 3
    assert len(parsed) == 2


def test_who_cannot_have_portable_numbers_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(numerics, "cpu_flags", lambda: frozenset())
    assert (
        "differ from the committed ones" in numerics.portability_warning()
        and "\n" not in numerics.portability_warning()
    )
    monkeypatch.setattr(numerics, "cpu_flags", lambda: frozenset({"avx2"}))
    assert numerics.portability_warning() is None and "cuda gives other numbers" in numerics.portability_warning(
        "cuda"
    )
    Path("params.yaml").write_text("numerics: fast\n", encoding="utf-8")
    monkeypatch.setattr(numerics, "cpu_flags", lambda: frozenset())
    assert numerics.portability_warning() is None and numerics.portability_warning("cuda") is None


def test_a_value_that_is_neither_ends_a_stage_in_one_line(tmp_path):
    (tmp_path / "params.yaml").write_text("numerics: quick\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "stages.sample"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "numerics = 'quick': Input should be 'portable' or 'fast'" in done.stderr


@pytest.mark.skipif(not AVX2, reason="nothing is pinned here")
def test_the_pins_reach_the_libraries_also_in_a_spawned_worker():
    assert torch.backends.cpu.get_cpu_capability() == "AVX2"  # the tests run as the stages do
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(torch.backends.cpu.get_cpu_capability) == "AVX2"


def test_numerics_loads_none_of_what_it_pins():
    program = (
        "import sys, stages; print([one for one in ('torch', 'numpy', 'cv2', 'scipy', 'av') if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("stage", pipeline())
def test_every_stage_tracks_the_parameter(stage):
    assert "numerics" in pipeline()[stage]["params"]


def test_square_root_is_the_square_root():
    values = torch.cat([torch.zeros(1), torch.rand(9999) * 10 ** torch.randint(-9, 9, (9999,))])
    assert torch.allclose(square_root(values), values.double().sqrt().float(), rtol=3e-7, atol=0)
    assert square_root(values)[0] == 0


# What goes through MKL's vector library, whose digits depend on the processor even in its COMPATIBLE branch, or
# through float32 functions of the C library, whose digits depend on its version.
UNPORTABLE = {"sqrt", "sqrt_", "atan", "arctan", "acos", "arccos", "asin", "arcsin", "cdist", "_foreach_sqrt"}
UNPORTABLE |= {"softplus", "mish", "logaddexp"}
INSIDE = UNPORTABLE | {"_cdist_forward", "_euclidean_dist"}  # as PyTorch calls them below its functions


@pytest.mark.parametrize("package", ["merc", "models", "stages"])
def test_no_tensor_is_given_to_an_operation_that_depends_on_the_processor(package):
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if unportable(node):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == [], "square_root of merc/runtime/numerics.py is portable"


def unportable(node: ast.AST) -> bool:
    """A call that numpy and math do not answer, or a power of one half of what is no length or width."""
    if isinstance(node, ast.Attribute) and node.attr in UNPORTABLE:
        return ast.unparse(node.value) not in ("np", "math", "numpy")
    half = (
        isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and ast.unparse(node.right) in ("0.5", "1 / 2")
    )
    return half and ".shape[" not in ast.unparse(node.left)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x.sqrt()", True), ("torch.sqrt(x)", True), ("x ** 0.5", True), ("torch.atan(x)", True),
        ("x.sqrt_()", True), ("np.sqrt(x)", False), ("math.sqrt(2)", False), ("x.rsqrt()", False),
        ("x / q.shape[-1] ** 0.5", False),
    ],
)  # fmt: skip
def test_what_counts_as_one(text, expected):
    assert any(unportable(node) for node in ast.walk(ast.parse(text))) is expected


class Refuse(TorchDispatchMode):
    """Runs below autograd and other libraries, so that the backward pass and what libraries do is seen too."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Else torch imports its compiler, which takes 6 s, to keep it away from here."""
        return False

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name.removeprefix("aten::")
        tensors = [
            tensor
            for tensor in tree_leaves(args)
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point()
        ]
        wide = any(tensor.dtype == torch.float64 and tensor.numel() > 1 for tensor in tensors)
        half = name.startswith("pow") and isinstance(args[1], float) and args[1] == 0.5
        half = half or (name == "gelu" and (kwargs or {}).get("approximate") == "tanh")
        transposed = name == "native_batch_norm" and not args[0].is_contiguous()  # inside, it takes a square root
        if name in INSIDE or half or transposed or (wide and name in ("log", "tan")):
            shapes = [tuple(tensor.shape) for tensor in tensors]
            raise AssertionError(f"{name} of {shapes} depends on the processor")
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "call",
    [
        torch.sqrt,
        lambda one: one**0.5,
        lambda one: torch.cdist(one, one),
        functional.softplus,
        lambda one: functional.batch_norm(one.T, torch.zeros(30), torch.ones(30)),
    ],
)
def test_refuse_refuses(call):
    with Refuse(), pytest.raises(AssertionError, match="depends on the processor"):
        call(torch.rand(30, 4))


def test_a_training_step_of_the_text_encoder():
    """Of transformers: the digests of tests/operations.py are of what it calls."""
    encoder = factory.build("text", "minilm", factory.encoding_section("text"))
    assert encoder is not None
    with Refuse():
        values, _ = encoder(encoder.prepare([TextInput("So good!", ""), TextInput("No.", "")]))
        values.sum().backward()


@pytest.mark.parametrize("name", ["prosody", "log-mel"])
def test_sound_encoders(name):
    """With torchaudio's filterbank."""
    with Refuse():
        encoder = factory.build("audio", name, factory.encoding_section("audio"))
        assert encoder is not None
        encoder(encoder.prepare([encoder.silent_input]))


@networks.every_combination
@pytest.mark.parametrize("name", optim.OPTIMISERS)
def test_a_training_step_of_every_network(name, fusion, context):
    network, batch = networks.network(fusion=fusion, context=context).train(), networks.batch()
    parts = [optim.TrainablePart(list(network.parameters()), 0.01)]
    optimiser = optim.new_optimiser(network, parts, 0, loops.config(optimiser=name))
    with Refuse():
        logits = network(batch)
        loss = sum(functional.cross_entropy(logits[task], batch[task]) for task in ("emotion", "sentiment"))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()


@networks.every_combination
@torch.no_grad()
def test_an_answer_of_every_network_to_a_single_utterance(fusion, context):
    """A batch of one: views that are copies elsewhere stay views."""
    network = networks.network(fusion=fusion, context=context).eval()
    streams = {name: dim for name, dim in networks.STREAMS.items() if name != "text/other"}  # each modality once
    with Refuse():
        network(networks.batch((1,), streams=streams))
