"""Whisper's encoder, face-api's expressions and MPNet: tiny ones against transformers, real ones on real clips."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file
from transformers import MPNetConfig, MPNetModel, WhisperFeatureExtractor
from transformers.models.whisper import modeling_whisper
from tuned_project import set_up

from merc.data.records.encoder_inputs import SAMPLE_RATE, AudioInput, TextInput, VisionInput
from merc.data.records.face_tracks import TRACK_FPS
from merc.encoders.base import factory
from merc.encoders.base.encoder import extract_features
from merc.encoders.pretrained.loading import load_checkpoint
from merc.encoders.vision.face_expression import Convolution, FaceExpressionNetwork, load_face_expression
from merc.media import clip_reader
from merc.media.faces import detectors, tracking
from merc.runtime.errors import UserError
from stages.adapt import main

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "data/weights"
GRID = ROOT.parent / "shared/data/clips"
THIRTY = 30 * SAMPLE_RATE
ON = {"epochs": 1, "freeze_epochs": 0, "unfreeze_layers": 1, "lr": 0.01, "head_lr": 0.1, "batch": 4}


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    return tmp_path / "data/weights"


def build(modality: str, name: str, **changes):
    return factory.build(modality, name, factory.encoding_section(modality).model_copy(update=changes))


def noise(samples: int) -> AudioInput:
    random = np.random.default_rng(samples)
    return AudioInput((0.1 * random.standard_normal(samples)).astype(np.float32))


@pytest.mark.parametrize("samples", [1, 20_001])
def test_whispers_log_mel_is_the_beginning_of_the_extractors(weights, samples):
    tiny.whisper(weights / "mine")
    extractor = WhisperFeatureExtractor.from_pretrained(weights / "mine")
    for sound in (noise(samples), AudioInput(np.zeros(samples, np.float32))):
        expected = extractor(sound.samples, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
        found = build("audio", "mine").log_mel(torch.from_numpy(sound.samples)[None])
        assert found.shape[2] == -(-samples // 160)
        torch.testing.assert_close(found, expected[:, :, : found.shape[2]], atol=1e-5, rtol=0)


@pytest.mark.parametrize("layer", [-2, 0, 2, "middle", "mean", "weighted"])
def test_thirty_seconds_are_encoded_as_transformers_encodes_them(weights, layer):
    tiny.whisper(weights / "mine")
    sound = noise(THIRTY)
    sound.samples[-400:] = 0  # the extractor mirrors what lies before the end, where silence follows here
    encoder = build("audio", "mine", layer=layer, frame_rate=50.0)
    extractor = WhisperFeatureExtractor.from_pretrained(weights / "mine")
    model = modeling_whisper.WhisperModel.from_pretrained(weights / "mine").encoder.eval()
    with torch.no_grad():
        heard = extractor(sound.samples, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
        hidden = model(heard, output_hidden_states=True).hidden_states
    expected = hidden[layer] if isinstance(layer, int) else torch.stack(hidden[1:]).mean(dim=0)
    if layer == "middle":
        expected = torch.cat(hidden[-3:], dim=2)  # of two layers
    np.testing.assert_allclose(extract_features(encoder, [sound])[0], expected[0], atol=1e-4)


def test_whisper_is_loaded_without_its_decoder_and_the_layers_above_the_chosen_one(weights):
    tiny.whisper(weights / "mine", encoder_layers=3)
    encoder = build("audio", "mine", layer=2)
    assert {name.split(".")[0] for name in encoder.state_dict()} == {"conv1", "conv2", "layers", "positions"}
    assert len(encoder.layers) == 2
    with pytest.raises(UserError, match=r"layer = 4: mine has 3 layers"):
        build("audio", "mine", layer=4)


def test_whisper_hears_a_clip_alike_in_any_batch_and_a_long_one_window_by_window(weights):
    tiny.whisper(weights / "mine")
    encoder = build("audio", "mine", frame_rate=50.0)
    sounds = [noise(samples) for samples in (1, 3_000, 17_001, THIRTY + 4_321)]
    with torch.inference_mode():
        values, steps = encoder(encoder.prepare(sounds))
    for row, count, sound in zip(values, steps.tolist(), sounds, strict=True):
        assert count == -(-len(sound.samples) // 320)
        np.testing.assert_allclose(row[:count], extract_features(encoder, [sound])[0], atol=1e-5)
    halves = [AudioInput(sounds[3].samples[:THIRTY]), AudioInput(sounds[3].samples[THIRTY:])]
    expected = np.concatenate(extract_features(encoder, halves))
    np.testing.assert_allclose(values[3, : steps[3]], expected, atol=1e-5)


def test_the_middle_of_six_layers_is_two_to_four_and_nothing_above_is_loaded(weights):
    tiny.whisper(weights / "mine", encoder_layers=6)
    encoder, sound = build("audio", "mine", layer="middle"), noise(3_000)
    expected = [extract_features(build("audio", "mine", layer=layer), [sound])[0] for layer in (2, 3, 4)]
    np.testing.assert_allclose(extract_features(encoder, [sound])[0], np.concatenate(expected, axis=1), atol=1e-5)
    assert len(encoder.layers) == 4


def test_a_pair_of_whispers_gives_the_mean_and_deviation_of_both_over_each_step(weights):
    for name, layers in (("whisper-tiny.en", 4), ("whisper-base", 6)):
        tiny.whisper(weights / name, encoder_layers=layers)
    sounds = [noise(9_000), noise(3_001)]
    names = ("whisper-tiny.en", "whisper-base")
    frames = [extract_features(build("audio", name, layer="middle", frame_rate=50.0), sounds) for name in names]
    for rate in (10.0, 0.05):
        pair, size = build("audio", "whisper-pair", frame_rate=rate), round(50 / rate)
        for values, *parts in zip(extract_features(pair, sounds), *frames, strict=True):
            both = np.concatenate(parts, axis=1)
            spans = [both[first : first + size] for first in range(0, len(both), size)]
            expected = [np.concatenate([span.mean(axis=0), span.std(axis=0)]) for span in spans]
            np.testing.assert_allclose(values, expected, atol=5e-3)  # sqrt(1e-5) where there is no deviation


@pytest.mark.parametrize("changes", [{}, {"lora": 2, "checkpointing": True}])
def test_whispers_top_layer_is_adapted(weights, changes):
    set_up("adapt.audio", encoder="hears", layer=1, **(ON | changes))
    tiny.whisper(weights / "hears")
    main("audio")
    before, after = build("audio", "hears").state_dict(), load_file("out/adapt/audio/model.safetensors")
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert before.keys() == after.keys()
    assert changed
    assert all(name.startswith("layers.0.") for name in changed)


def test_tensorflows_padding_of_a_stride_of_two_is_below_and_to_the_right():
    convolution = Convolution(1, 1, 2, bias=False).requires_grad_(False)
    convolution.weight.copy_(torch.arange(9.0).view(1, 1, 3, 3))
    found = convolution(torch.ones(1, 1, 4, 4))[0, 0]
    assert found.tolist() == [[36, 0 + 1 + 3 + 4 + 6 + 7], [0 + 1 + 2 + 3 + 4 + 5, 0 + 1 + 3 + 4]]


def test_mpnets_positions_begin_after_that_of_its_padding(weights):
    tiny.language(MPNetModel, MPNetConfig, weights / "mine", padding=1, max_position_embeddings=34)
    with pytest.raises(UserError, match="mine reads at most 32"):
        build("text", "mine", max_tokens=33)
    encoder = build("text", "mine", max_tokens=32)
    long, short = TextInput("word " * 20, "Ann"), TextInput("no", "Bob")
    assert encoder.prepare([long, short])["input_ids"][1, -1] == 1
    for one, other in zip(extract_features(encoder, [long, short]), (long, short), strict=True):
        np.testing.assert_allclose(one, extract_features(encoder, [other])[0], atol=1e-5)


def brought(*names: str) -> pytest.MarkDecorator:
    missing = [name for name in names if not (WEIGHTS / name).is_dir()]
    return pytest.mark.skipif(bool(missing), reason=f"not in {WEIGHTS}: {missing}")


@pytest.mark.real
@pytest.mark.parametrize(("name", "layers"), [("whisper-tiny.en", 4), ("whisper-base", 6)])
def test_the_real_whispers_width_and_layers(weights, name, layers):
    if not (WEIGHTS / name).is_dir():
        pytest.skip(f"no {WEIGHTS / name}")
    weights.parent.mkdir()
    weights.symlink_to(WEIGHTS)
    encoder = build("audio", name, layer="mean")
    assert len(encoder.layers) == layers
    one, other = extract_features(encoder, [noise(8_000), noise(20_000)])
    assert one.shape[1] == encoder.dim == factory.modality_package("audio").ENCODERS[name].width
    assert other.shape == (13, encoder.dim)


@pytest.mark.real
@brought("mpnet")
def test_the_real_mpnet_knows_what_means_the_same(weights):
    weights.parent.mkdir()
    weights.symlink_to(WEIGHTS)
    lines = ("I am so happy today!", "What a joyful day this is.", "The invoice is due in March.")
    encoder = build("text", "mpnet")
    means = [values[1:].mean(axis=0) for values in extract_features(encoder, [TextInput(one, "") for one in lines])]
    same, other = (np.corrcoef(means[0], mean)[0, 1] for mean in means[1:])
    assert same > other + 0.3


@pytest.mark.real
@brought("face-expression")
@pytest.mark.skipif(not list(GRID.glob("*.mpg")), reason=f"no clips in {GRID}")
def test_real_faces_that_read_out_a_command_are_neutral_most_of_the_time():
    file = WEIGHTS / "face-expression/model.safetensors"
    encoder = load_face_expression("face-expression", file.parent, 5.0)
    head = load_checkpoint(FaceExpressionNetwork(), file).fc
    for path in GRID.glob("*.mpg"):
        _, pictures = clip_reader.read_clip(path, clip_reader.Limits(0.2, 15.0), ticks=True)
        (track,) = tracking.track_faces(pictures, detectors.DETECTORS["haar"], 64)
        faces = VisionInput(track.crops, track.boxes, track.frames / TRACK_FPS)
        with torch.inference_mode():
            logits = head(torch.from_numpy(extract_features(encoder, [faces])[0]))
        assert logits.softmax(dim=1).mean(dim=0)[0] > 0.8  # the first class
        assert logits.std(dim=0).min() > 0.05
