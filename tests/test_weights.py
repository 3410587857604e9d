"""Where pretrained weights come from: found, or refused in one line, soon, and with nothing run."""

import hashlib
import http.server
import pickle
import shutil
import socket
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from transformers import (
    BertConfig,
    BertModel,
    Data2VecAudioConfig,
    Data2VecAudioModel,
    DebertaV2Config,
    DebertaV2Model,
    HubertConfig,
    HubertModel,
    ViTConfig,
    ViTModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
)

from merc.data.records.encoder_inputs import AudioInput, TextInput
from merc.encoders.base import factory
from merc.encoders.base.encoder import extract_features
from merc.encoders.pretrained import sources
from merc.encoders.pretrained.cards import WEIGHTS, Weights
from merc.runtime.errors import UserError

PARAMS = Path(__file__).resolve().parent.parent / "params.yaml"
COMMIT = "8ccc9b6f36199bec6961081d44eb72fb3f7353f3"


class Malice:
    """What the plain unpickler would run."""

    def __reduce__(self):
        import os

        return os.system, ("touch it-ran",)


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(PARAMS, "params.yaml")
    return tmp_path / "data/weights"


def build(modality, name, **changes):
    return factory.build(modality, name, factory.encoding_section(modality).model_copy(update=changes))


def as_bin(folder):
    """The older form in which many official weights are published."""
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def test_a_folder_under_data_weights_is_an_encoder(weights):
    tiny.language(BertModel, BertConfig, weights / "mine")
    assert extract_features(build("text", "mine"), [TextInput("yes", "")])[0].shape == (4, 16)


def test_official_bin_files_give_the_same_features_as_safetensors(weights):
    tiny.language(BertModel, BertConfig, weights / "mine")
    before = extract_features(build("text", "mine"), [TextInput("yes", "")])[0]
    as_bin(weights / "mine")
    assert np.array_equal(extract_features(build("text", "mine"), [TextInput("yes", "")])[0], before)


@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_that_does_not_answer_costs_one_line_and_no_minute(monkeypatch, offline):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://127.0.0.1:9")
    begin = time.monotonic()
    with pytest.raises(UserError) as error:
        sources.model_folder(f"microsoft/deberta-v3-base@{COMMIT}")
    assert time.monotonic() - begin < 3
    message = str(error.value)
    assert "\n" not in message
    for part in ("microsoft/deberta-v3-base", "data/weights/deberta-v3-base", "hub", "choose an encoder"):
        assert part in message


def test_a_checkpoint_that_cannot_be_fetched_says_where_it_belongs(monkeypatch):
    known(monkeypatch, "resnet50", "https://127.0.0.1:9/models/resnet50-11ad3fa6.pth")
    begin = time.monotonic()
    with pytest.raises(UserError, match=r"resnet50: not in data/weights/resnet50-11ad3fa6.pth.*cannot be reached"):
        build("vision", "resnet50")
    assert time.monotonic() - begin < 3


def known(monkeypatch, name, url):
    """Have the catalogue name this address."""
    monkeypatch.setitem(WEIGHTS, name, Weights("drawn", "MIT", 1, url=url))


def fetched(monkeypatch, endpoint):
    """One line about a model that is only on the hub, and the seconds until it is said."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", endpoint)
    begin = time.monotonic()
    with pytest.raises(UserError) as error:
        sources.model_folder(f"microsoft/deberta-v3-base@{COMMIT}")
    return str(error.value), time.monotonic() - begin


def test_a_name_that_nobody_resolves_is_given_up_soon(monkeypatch):
    def resolve(*given, **named):
        time.sleep(6)
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    said, seconds = fetched(monkeypatch, "https://hub.invalid")
    assert seconds < 3
    assert "no answer within" in said


def test_a_server_that_takes_calls_and_says_nothing_is_given_up_soon(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr("huggingface_hub.HfApi.model_info", partial(silent, endpoint))
        said, seconds = fetched(monkeypatch, endpoint)
    assert seconds < 3
    assert "deberta-v3-base" in said and "Timeout" in said


def silent(endpoint, model, revision, timeout):
    """What HfApi asks, of this server."""
    from huggingface_hub.utils import get_session

    return get_session().get(f"{endpoint}/api/models/{model}/revision/{revision}", timeout=timeout)


class Shelf(http.server.SimpleHTTPRequestHandler):
    """Serves the current directory, in silence."""

    def log_message(self, *given):
        pass


@pytest.fixture
def shelf():
    """The address of a server of the current directory."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shelf) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_checkpoint_is_fetched_once_and_its_name_vouches_for_it(shelf, weights, monkeypatch):
    tiny.checkpoint(partial(torch.nn.Linear, 2, 2), Path("there/net.pth"))
    digest = hashlib.sha256(Path("there/net.pth").read_bytes()).hexdigest()[:8]
    Path("there/net.pth").rename(f"there/net-{digest}.pth")
    known(monkeypatch, "net", f"{shelf}there/net-{digest}.pth")
    got = sources.checkpoint_file("net")
    assert got.resolve() == weights / f"net-{digest}.pth"
    Path(f"there/net-{digest}.pth").write_bytes(b"something else")
    assert sources.checkpoint_file("net") == got
    got.unlink()
    with pytest.raises(UserError, match="gave another file"):
        sources.checkpoint_file("net")
    assert not got.exists()


def cached(monkeypatch, home, revision):
    """A tiny model where the hub's client keeps what it fetched."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(home))
    folder = home / "models--someone--words/snapshots" / revision
    tiny.language(BertModel, BertConfig, folder)
    return folder


def test_the_hubs_cache_is_used_at_exactly_the_revision_that_is_named(monkeypatch, tmp_path):
    there = cached(monkeypatch, tmp_path / "hub", COMMIT)
    assert sources.model_folder(f"someone/words@{COMMIT}") == there
    assert extract_features(build("text", f"someone/words@{COMMIT}"), [TextInput("yes", "")])[0].shape == (4, 16)
    with pytest.raises(UserError, match="not in the hub's cache"):
        sources.model_folder(f"someone/words@{COMMIT[::-1]}")


def test_safetensors_win_over_a_bin_file_beside_them(weights):
    tiny.language(BertModel, BertConfig, weights / "mine")
    (weights / "mine/pytorch_model.bin").write_bytes(pickle.dumps({"weight": Malice()}, 2))
    assert extract_features(build("text", "mine"), [TextInput("yes", "")])[0].shape == (4, 16)
    assert not Path("it-ran").exists()


@pytest.mark.parametrize("name", ["owner/name", "owner/name@"])
def test_a_hub_model_needs_its_revision(name):
    with pytest.raises(UserError, match="owner/name@revision"):
        build("text", name)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(weights):
    tiny.language(BertModel, BertConfig, weights / "mine")
    larger = tiny.tokenizer()
    larger.add_tokens(["extra", "more"])
    larger.save_pretrained(weights / "mine")
    with pytest.raises(UserError, match=r"tokenizer has \d+ tokens and its model \d+"):
        build("text", "mine")


def test_weights_that_are_missing_are_never_drawn_at_random(weights):
    from safetensors.torch import load_file, save_file

    tiny.language(BertModel, BertConfig, weights / "mine")
    file = weights / "mine/model.safetensors"
    kept = {name: tensor for name, tensor in load_file(file).items() if "layer.1.attention" not in name}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"weights are missing .*layer\.1\.attention"):
        build("text", "mine")


def test_a_pickle_that_runs_something_is_refused_by_name_and_nothing_runs(weights):
    tiny.language(BertModel, BertConfig, weights / "mine")
    as_bin(weights / "mine")
    (weights / "mine/pytorch_model.bin").write_bytes(pickle.dumps({"weight": Malice()}, 2))
    (weights / "resnet50-11ad3fa6.pth").write_bytes(pickle.dumps({"weight": Malice()}, 2))
    torch.save({"weight": Malice()}, weights / "r3d_18-b3b3357e.pth")
    for modality, name in (("text", "mine"), ("vision", "resnet50"), ("vision", "r3d_18")):
        with pytest.raises(UserError, match=r"refused.*system"):
            build(modality, name)
    assert not Path("it-ran").exists()


def test_a_checkpoint_of_another_form_is_refused(weights):
    tiny.checkpoint(partial(torch.nn.Linear, 2, 2), weights / "resnet50-11ad3fa6.pth")
    with pytest.raises(UserError, match="is not of this form"):
        build("vision", "resnet50")


def test_what_a_model_cannot_read_is_refused_before_it_fails(weights):
    tiny.language(BertModel, BertConfig, weights / "mine", max_position_embeddings=32)
    with pytest.raises(UserError, match=r"max_tokens = 64: mine reads at most 32"):
        build("text", "mine")
    with pytest.raises(UserError, match="bert model does not hear samples"):
        build("audio", "mine")


def test_a_picture_model_without_its_scaling_is_refused(weights):
    tiny.sight(ViTModel, ViTConfig, weights / "mine")
    (weights / "mine/preprocessor_config.json").unlink()
    with pytest.raises(UserError, match=r"preprocessor_config.json: not there"):
        build("vision", "mine")


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("layer", [-1, 1, "mean", "weighted"])
def test_speech_features_are_the_models_own_hidden_states(weights, norm, layer):
    options = {"feat_extract_norm": norm, "do_stable_layer_norm": norm == "layer"}
    tiny.speech(HubertModel, HubertConfig, weights / "mine", **options)
    encoder = build("audio", "mine", frame_rate=50.0, layer=layer)
    sounds = [
        AudioInput(0.1 * np.random.default_rng(n).standard_normal(n).astype(np.float32)) for n in (4_000, 9_999)
    ]
    samples = torch.from_numpy((sounds[0].samples - sounds[0].samples.mean()) / sounds[0].samples.std())[None]
    with torch.no_grad():
        output = encoder.model(samples, output_hidden_states=True)
    hidden = output.hidden_states
    mean = torch.stack(hidden[1:]).mean(dim=0)  # also of a mixture that nothing has learnt
    expected = {-1: output.last_hidden_state, 1: hidden[1], "mean": mean, "weighted": mean}[layer][0]
    assert np.allclose(extract_features(encoder, sounds)[0], expected.numpy(), atol=1e-4)


def test_a_mixture_of_layers_weighs_them_by_a_softmax(weights):
    tiny.speech(Wav2Vec2Model, Wav2Vec2Config, weights / "mine")
    mixed, *layers = (build("audio", "mine", layer=layer) for layer in ("weighted", 1, 2))
    with torch.no_grad():
        mixed.mixture.copy_(torch.tensor([3.0, 1.0]).log())
    sound = AudioInput(0.1 * np.random.default_rng(0).standard_normal(4_000).astype(np.float32))
    mixed, first, second = (extract_features(one, [sound])[0] for one in (mixed, *layers))
    assert np.allclose(mixed, 0.75 * first + 0.25 * second, atol=1e-4)


@pytest.mark.parametrize(("kind", "config"), [(Data2VecAudioModel, Data2VecAudioConfig), (WavLMModel, WavLMConfig)])
def test_data2vec_and_wavlm_from_a_folder(weights, kind, config):
    tiny.speech(kind, config, weights / "mine")
    encoder = build("audio", "mine", frame_rate=50.0)
    sound = AudioInput(0.1 * np.random.default_rng(0).standard_normal(4_000).astype(np.float32))
    samples = torch.from_numpy((sound.samples - sound.samples.mean()) / sound.samples.std())[None]
    with torch.no_grad():
        expected = encoder.model(samples).last_hidden_state[0].numpy()
    assert np.allclose(extract_features(encoder, [sound])[0], expected, atol=1e-4)


def test_a_layer_that_is_not_there_is_refused(weights):
    tiny.speech(Wav2Vec2Model, Wav2Vec2Config, weights / "mine")
    with pytest.raises(UserError, match="layer = 3: mine has 2 layers"):
        build("audio", "mine", layer=3)


def test_deberta_with_a_sentencepiece_model_and_nothing_else(weights):
    """Its official files: spm.model, no tokenizer.json."""
    trainer = pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")
    pytest.importorskip("google.protobuf", reason="protobuf is not installed")
    folder = weights / "deberta-v3-base"
    lines = [f"{word} {other} again" for word in ["what", "where", "who"] for other in ["now", "then", "never"]]
    folder.mkdir(parents=True)
    options = {"vocab_size": 40, "pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3, "hard_vocab_limit": False}
    pieces = {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
    trainer.SentencePieceTrainer.train(
        sentence_iterator=iter(lines * 20),
        model_prefix=str(folder / "spm"),
        **options,
        **pieces,
    )
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "DebertaV2Tokenizer"}')
    tiny._save(DebertaV2Model(DebertaV2Config(vocab_size=24, pad_token_id=0, **tiny.WORDS)), folder)
    encoder = build("text", "deberta-v3-base")
    text = "what now"
    spans = encoder.units([TextInput(text, "")])[0].astype(int)
    assert "".join(text[start:end] for start, end in spans).replace(" ", "") == "whatnow"
