"""ONNX files: the answers of torch for any dialogue, nothing of this machine in them, every engine in use."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from closure import ROOT
from exported import write_dialogue, write_model
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import COMBINATIONS, batch, config, network
from tiny import BertConfig, BertModel, language

from merc.encoders.text.language_model import load_language_model as read_language
from merc.encoders.text.language_model_encoder import ContextWindow
from merc.export import bundle, onnx_files, onnx_network
from merc.export import onnx_encoders as portable_encoders
from merc.export.onnx_files import OnnxSession
from merc.runtime import results
from merc.runtime.errors import UserError
from merc.serve import Predictor
from merc.serve.predictor.engines import ENGINES
from models.context import CONTEXTS
from models.network import FUSIONS, Network
from models.stems import STEMS

CLOSE = 1e-4
WINDOW = ContextWindow(max_tokens=32, clean=(), before=0, after=0, speakers=False)
# one of each kind quickly, every pair where there is time
QUICK = [("esag", "gru"), ("crossmodal", "transformer"), ("graph", "none")]
PAIRS = [
    pytest.param(*pair, id="-".join(pair), marks=[] if pair in QUICK else [pytest.mark.slow])
    for pair in COMBINATIONS
]


def without(made: dict, modalities: set[str]) -> dict:
    """A batch in which nobody has features of these modalities, and none with no rows."""
    kept = [s for s, rows in made["rows"].items() if s.split("/")[0] not in modalities and len(rows)]
    return made | {part: {s: made[part][s] for s in kept} for part in onnx_network.PARTS}


def compare(session: OnnxSession, torch_network: Network, made: dict) -> None:
    with torch.inference_mode():
        output = torch_network(made)
    found = session(onnx_network.named_arrays(made, torch_network.streams))
    expected = {task: output[task] for task in torch_network.labels}
    expected |= {"gate": output["weights"]["gate"]} if "gate" in output["weights"] else {}
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        np.testing.assert_allclose(found[name], tensor.numpy(), atol=CLOSE, rtol=CLOSE)


def of_constants(graph: onnx.GraphProto) -> set[str]:
    """The operations whose inputs are all known when the file is written."""
    known, found = {one.name for one in graph.initializer}, set()
    for node in graph.node:
        if set(node.input) <= known:
            known |= set(node.output)
            found.add(node.op_type)
    return found


@pytest.mark.parametrize(("fusion", "context"), PAIRS)
def test_the_exporter_is_left_no_square_root_to_fold(fusion, context, tmp_path, monkeypatch):
    """It computes what depends on constants alone by torch.sqrt, whose digits depend on the processor."""
    monkeypatch.setattr(torch.onnx, "export", partial(torch.onnx.export, do_constant_folding=False))
    monkeypatch.setattr(onnx_files, "quantize", lambda *_: None)
    stems = dict(zip(("text", "audio", "vision"), STEMS, strict=True))
    onnx_network.export_network(tmp_path, network(fusion=fusion, context=context, stem=stems))
    found = of_constants(onnx.load(tmp_path / onnx_files.FULL).graph)
    assert "Transpose" in found  # of a weight: the test sees what is folded
    assert "Sqrt" not in found


@pytest.mark.parametrize(("fusion", "context"), PAIRS)
def test_every_network_answers_alike_in_onnx(fusion, context, tmp_path):
    """Dialogues of 1 to 40 utterances, one or several, with all, some and no modalities."""
    stems = dict(zip(("text", "audio", "vision"), STEMS, strict=True))
    own = network(fusion=fusion, context=context, stem=stems)
    onnx_network.export_network(tmp_path, own)
    session = OnnxSession(tmp_path / onnx_files.FULL)
    for number, dialogues in enumerate(((1,), (2,), (3,), (40,), (1, 1), (17, 2, 5))):
        made = batch(dialogues, seed=10 + number)
        for hidden in (set(), {"text"}, {"audio", "vision"}, {"text", "audio", "vision"}):
            compare(session, own, without(made, hidden))
    reduced = OnnxSession(tmp_path / onnx_files.REDUCED)(
        onnx_network.named_arrays(without(batch(), set()), own.streams)
    )
    assert all(np.isfinite(values).all() for values in reduced.values())


@pytest.mark.slow
@pytest.mark.parametrize("context", CONTEXTS)
def test_a_causal_network_stays_causal(context, tmp_path):
    own = network(fusion="graph-multiattn", context=context, causal=True)
    onnx_network.export_network(tmp_path, own)
    compare(OnnxSession(tmp_path / onnx_files.FULL), own, without(batch((9, 3)), set()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Network, OnnxSession]:
    folder, own = tmp_path_factory.mktemp("whole"), network()
    onnx_network.export_network(folder, own)
    return own, OnnxSession(folder / onnx_files.FULL)


@settings(max_examples=40, deadline=None)
@given(
    dialogues=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    seed=st.integers(0, 10**6),
    hidden=st.sets(st.sampled_from(("text", "audio", "vision"))),
    extra=st.integers(0, 3),
)
def test_random_dialogues_answer_alike(whole, dialogues, seed, hidden, extra):
    own, session = whole
    compare(session, own, without(batch(tuple(dialogues), seed=seed, extra=extra), hidden))


def test_a_lone_modality_and_one_task_export(tmp_path):
    torch.manual_seed(0)
    about = config(modalities=["audio"], stem={"audio": "conv1d"}, roles=0, heads="independent")
    own = Network(about, {"audio/prosody": 6}, {"emotion": ("a", "b", "c")}).eval()
    onnx_network.export_network(tmp_path, own)
    made = without(batch((5, 2)), {"text", "vision"})
    compare(OnnxSession(tmp_path / onnx_files.FULL), own, made | {"present": made["present"][:, 1:2]})


def test_every_fusion_and_context_is_in_the_contract():
    assert {one.values for one in PAIRS} == {(fusion, context) for fusion in FUSIONS for context in CONTEXTS}
    assert set(QUICK) <= set(COMBINATIONS)


def test_the_same_network_gives_the_same_bytes_and_no_file_tells_where_it_was_made(tmp_path):
    for place in ("one", "another place"):
        onnx_network.export_network(tmp_path / place, network(fusion="concat", context="none"))
    for name in (onnx_files.FULL, onnx_files.REDUCED):
        content = (tmp_path / "one" / name).read_bytes()
        assert content == (tmp_path / "another place" / name).read_bytes()
        for trace in (str(tmp_path), str(Path(__file__).parent.parent), ".py", "site-packages", str(Path.home())):
            assert trace.encode() not in content
        onnx.checker.check_model(onnx.load(tmp_path / "one" / name), full_check=True)


@pytest.fixture
def words(tmp_path):
    """A tiny language model of the hub, read by transformers."""
    language(BertModel, BertConfig, tmp_path / "tiny-bert")
    return read_language("tiny-bert", tmp_path / "tiny-bert", WINDOW)


def test_a_text_encoder_answers_alike_in_onnx(words, tmp_path):
    """Against transformers' own BERT, at other lengths than that of the export."""
    assert portable_encoders.export_text_encoder(tmp_path / "text", words) is None
    own, other = words.model, portable_encoders.OnnxLanguageModel(tmp_path / "text" / onnx_files.FULL)
    for shape in ((1, 1), (2, 31), (5, 8)):
        ids = torch.randint(1, 100, shape)
        seen = torch.ones_like(ids)
        seen[-1, shape[1] // 2 + 1 :] = 0
        with torch.inference_mode():
            difference = (own(ids, seen) - other(ids, seen))[seen.bool()].abs().max()
        assert difference < CLOSE


def test_no_square_root_of_a_text_encoder_is_left_to_fold(words, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.onnx, "export", partial(torch.onnx.export, do_constant_folding=False))
    monkeypatch.setattr(onnx_files, "quantize", lambda *_: None)
    assert portable_encoders.export_text_encoder(tmp_path / "text", words) is None
    found = of_constants(onnx.load(tmp_path / "text" / onnx_files.FULL).graph)
    assert "Transpose" in found  # of a layer's weights: the test sees what is folded
    assert "Sqrt" not in found


def test_an_encoder_that_cannot_be_exported_is_named_and_leaves_nothing(words, tmp_path):
    class Counting(torch.nn.Module):
        def forward(self, ids, seen):
            return torch.full((*ids.shape, 16), float(len(ids[0]) * (1 + int(seen.sum()))))

    words.model = Counting()
    reason = portable_encoders.export_text_encoder(tmp_path / "text", words)
    assert "off" in reason or "does not export" in reason
    assert not (tmp_path / "text").exists()


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """An exported folder with the ONNX of its network and of the real text encoder."""
    from merc.export import needed_encoders
    from models import checkpoint

    folder = write_model(tmp_path_factory.mktemp("model"))
    onnx_network.export_network(folder, checkpoint.load(folder))
    about = results.read_json(folder / "encoders.json")["text"]
    assert (
        portable_encoders.export_text_encoder(
            folder / "encoders/text", needed_encoders.restore_encoder("text", about, folder)
        )
        is None
    )
    bundle.write_hashes(folder)
    return folder


def test_the_predictor_answers_alike_with_every_engine(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no params.yaml, no data, no out
    write_dialogue(tmp_path / "dialogue")
    rows = {}
    for engine in ENGINES:
        predictor = Predictor.load(model, engine=engine)
        rows[engine] = predictor(tmp_path / "dialogue", texts=["So good!", "", "Leave me alone."])
    for auto, own, full, reduced in zip(*rows.values(), strict=True):
        assert own["missing"] == auto["missing"] == full["missing"] == reduced["missing"]
        for part in ("emotion", "sentiment", "gates"):
            expected = pytest.approx(list(own[part].values()), abs=2e-3)  # features are stored at half precision
            assert list(auto[part].values()) == expected
            assert list(full[part].values()) == expected
            assert sum(reduced[part].values()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("words", "loaded"), [((), "onnxruntime"), (("--engine", "torch"), "scipy transformers")])
def test_transformers_and_its_scipy_are_loaded_for_torch_alone(model, tmp_path, words, loaded):
    write_dialogue(tmp_path, count=1)
    command = ["predict", "--model", str(model), str(tmp_path / "dia0_utt0.mp4"), "--text", "So good!", *words]
    program = (
        f"import sys; from merc.__main__ import main\ncode = main({command!r})\n"
        "print(*sorted({'onnxruntime', 'scipy', 'transformers'} & set(sys.modules)), file=sys.stderr)\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == loaded


def test_a_folder_without_onnx_says_so(tmp_path):
    with pytest.raises(UserError, match=r"model\.int8\.onnx: not there.*export it again, or use torch"):
        Predictor.load(write_model(tmp_path), engine="int8")


def test_a_damaged_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match=r"model\.onnx: onnxruntime cannot read it"):
        OnnxSession(tmp_path / "model.onnx")
