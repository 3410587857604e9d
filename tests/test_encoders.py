"""Every encoder of the three tables against the one contract, and each against something known."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from pretend_device import pretend
from scipy.signal import sawtooth

from merc.data.records.encoder_inputs import SAMPLE_RATE, AudioInput, TextInput, VisionInput
from merc.encoders.base import factory, tuned
from merc.encoders.base.encoder import (
    BFLOAT16_FLAG,
    HALF_PRECISION,
    extract_features,
    half_precision,
    length_sorted_batches,
    prefetch_map,
)
from merc.encoders.pretrained.cards import WEIGHTS
from merc.runtime import numerics
from merc.runtime.errors import UserError

PARAMS = Path(__file__).resolve().parent.parent / "params.yaml"
MODALITIES = ("text", "audio", "vision")
NAMED = [(modality, name) for modality in MODALITIES for name in factory.modality_package(modality).ENCODERS]
BUILT = [pair for pair in NAMED if pair[1] != "none"]


def noise(seed, samples):
    return AudioInput((0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32))


def face(seed, frames, side=64):
    crops = np.random.default_rng(seed).integers(0, 256, (frames, side, side, 3)).astype(np.uint8)
    boxes = np.tile(np.array([10, 20, 30, 40], np.float32), (frames, 1))
    return VisionInput(crops, boxes, (3 + np.arange(frames)) / 25)


RAW = {
    "text": [
        TextInput("", ""),
        TextInput("Oh!", "Ann"),
        TextInput("What on earth did you put into the coffee this morning?", "Bob"),
        TextInput("It\x92s naïve 🙂 unbelievability", "Ann"),
        TextInput("ha " * 400, "Bob"),
    ],
    "audio": [
        noise(0, 1),
        noise(1, 399),
        noise(2, 20_000),
        AudioInput(np.zeros(5_000, np.float32)),
        noise(3, 33_333),
    ],
    "vision": [
        face(0, 1, 1),
        face(1, 1, 90),
        face(2, 40),
        VisionInput(*vars(face(3, 3)).values()),
        face(4, 61, 32),
    ],
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with the repository's params.yaml, and tiny models under data/weights."""
    folder = tmp_path_factory.mktemp("workplace")
    text = PARAMS.read_text(encoding="utf-8").replace("frame_rate: 5.0", "frame_rate: 2.0")
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("torchvision.models.resnet50", tiny.resnet50)
        patch.setattr("torchvision.models.video.r3d_18", tiny.r3d_18)
        tiny.lipsync(folder / "out/lipsync")
        yield folder / "data/weights"


@pytest.fixture(scope="module", params=BUILT, ids="-".join)
def case(request, workplace):
    modality, name = request.param
    if name in tiny.STAND_INS:
        path, write = tiny.STAND_INS[name]
        write(workplace / path)
    return factory.build(modality, name, factory.encoding_section(modality)), RAW[modality]


def test_features_have_the_declared_width_one_unit_per_step_and_no_holes(case):
    encoder, raw = case
    for values, units in zip(extract_features(encoder, raw), encoder.units(raw), strict=True):
        assert values.dtype == units.dtype == np.float32
        assert values.shape == (len(units), encoder.dim)
        assert units.shape[1] == len(encoder.unit_names)
        assert len(values) >= 1
        assert np.isfinite(values).all()
        assert np.abs(values).max() < (1000 if encoder.stored is np.float16 else 1e30)  # its pack keeps it


def test_order_neighbours_and_batch_size_change_nothing(case):
    encoder, raw = case
    together, backwards = extract_features(encoder, raw), extract_features(encoder, raw[::-1])[::-1]
    for index, one in enumerate(raw):
        alone = extract_features(encoder, [one])[0]
        assert np.allclose(alone, together[index], atol=1e-4)
        assert np.allclose(alone, backwards[index], atol=1e-4)


def test_the_same_again_is_the_same_to_the_bit(case):
    encoder, raw = case
    first, second = extract_features(encoder, raw), extract_features(encoder, raw)
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def test_different_inputs_have_different_features(case):
    encoder, raw = case
    one, other = extract_features(encoder, raw[1:3])
    assert not np.allclose(one.mean(axis=0), other.mean(axis=0), atol=1e-3)


def test_on_a_gpu_features_and_gradients_are_those_of_the_cpu(case):
    encoder, raw = case[0], case[1][:2]
    expected = extract_features(encoder, raw)
    with pretend("mps") as gpu:
        there = deepcopy(encoder).to(gpu.device)
        features = extract_features(there, raw)
        tensors = {name: one.to(gpu.device) for name, one in there.prepare(raw).items()}
        if name := there.differentiable:
            tensors[name].requires_grad_()
        values, steps = there(tensors)
        assert values.device == steps.device == gpu.device
        if values.requires_grad:
            values.sum().backward()
    for one, other in zip(features, expected, strict=True):
        assert np.allclose(one, other, atol=1e-4)


def test_a_cpu_with_matrices_of_bfloat16_uses_them_if_asked_for_its_fastest(tmp_path, monkeypatch):
    encoder = words()
    full = extract_features(encoder, RAW["text"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(numerics, "cpu_flags", lambda: frozenset({"avx2", BFLOAT16_FLAG}))
    assert half_precision("cpu") is None  # portable
    Path("params.yaml").write_text("numerics: fast\n", encoding="utf-8")
    assert half_precision("cpu") == torch.bfloat16
    for one, other in zip(full, extract_features(encoder, RAW["text"]), strict=True):
        assert 0 < np.abs(one - other).max() <= 0.05 * np.abs(one).max()
    monkeypatch.setattr(numerics, "cpu_flags", lambda: frozenset({"avx2", "avx512f", "avx512_bf16"}))
    assert half_precision("cpu") is None  # slower than float32


def test_half_precision_keeps_the_features_where_it_is_claimed_to_be_safe(case, monkeypatch):
    """As on an accelerator, by the CPU's own half precision."""
    encoder, raw = case
    full = extract_features(encoder, raw)
    monkeypatch.setitem(HALF_PRECISION, "cpu", torch.float16)
    half = extract_features(encoder, raw)
    for one, other in zip(full, half, strict=True):
        assert np.abs(one - other).max() <= 0.02 * max(1.0, np.abs(one).max())
        assert encoder.supports_half_precision or np.array_equal(one, other)


def test_what_passes_half_precision_is_computed_again_at_full_precision(monkeypatch):
    encoder = words()
    with torch.no_grad():
        for layer in encoder.model.model.encoder.layer:
            layer.output.LayerNorm.weight.mul_(3e4)
    full = extract_features(encoder, RAW["text"][:2])
    monkeypatch.setitem(HALF_PRECISION, "cpu", torch.float16)
    assert all(
        np.array_equal(one, other)
        for one, other in zip(full, extract_features(encoder, RAW["text"][:2]), strict=True)
    )


def test_ahead_keeps_the_order_and_hands_on_what_goes_wrong():
    assert list(prefetch_map(lambda number: number * 2, range(5))) == [0, 2, 4, 6, 8]
    with pytest.raises(ZeroDivisionError):
        list(prefetch_map(lambda number: 1 / number, [1, 0]))


def test_blank_is_the_answer_to_nothing(case):
    encoder, _ = case
    assert encoder.blank.shape[1] == encoder.dim
    assert np.array_equal(encoder.blank, extract_features(encoder, [encoder.silent_input])[0])


@pytest.mark.parametrize(("modality", "name"), BUILT, ids=lambda part: part)
def test_the_card_tells_the_width_and_the_licence(modality, name):
    card = factory.modality_package(modality).ENCODERS[name]
    assert card.licence
    assert card.source
    if name not in tiny.STAND_INS:
        assert factory.build(modality, name, factory.encoding_section(modality)).dim == card.width
    elif name in WEIGHTS and WEIGHTS[name].hub:
        assert len(WEIGHTS[name].hub.partition("@")[2]) == 40  # a commit, not a branch


def test_step_seconds_agrees_with_the_units(case):
    encoder, raw = case
    if encoder.step_seconds is None or "start" not in encoder.unit_names:
        return
    units = encoder.units(raw)[-1]
    assert np.allclose(np.diff(units[:, 0]), encoder.step_seconds, atol=1e-4)
    duration = len(raw[-1].samples) / SAMPLE_RATE
    assert duration - encoder.step_seconds <= units[-1, 0] <= duration <= units[-1, 1] + encoder.step_seconds


def test_gradients_reach_what_the_encoder_says_they_reach(case):
    encoder, raw = case
    tensors = encoder.prepare(raw[1:3])
    target = next(encoder.parameters(), None)
    if encoder.differentiable:
        target = tensors[encoder.differentiable].requires_grad_()
    elif target is None:  # neither is claimed: openSMILE is no network
        assert encoder.name == "egemaps"
        return
    encoder.zero_grad()
    values, steps = encoder(tensors)
    assert steps.tolist() == [len(units) for units in encoder.units(raw[1:3])]
    values.square().sum().backward()
    assert target.grad.isfinite().all()
    assert target.grad.abs().max() > 0


@pytest.mark.parametrize("modality", MODALITIES)
def test_none_builds_no_encoder_and_a_wrong_name_lists_the_right_ones(modality):
    config = factory.encoding_section(modality)
    assert factory.build(modality, "none", config) is None
    with pytest.raises(UserError, match="choose one of"):
        factory.build(modality, "nonesuch", config)


def test_the_corpus_may_have_an_encoder_of_its_own():
    config = factory.encoding_section("text").model_copy(update={"by_corpus": {"meld": "none"}})
    assert [factory.chosen_encoder(config, corpus) for corpus in ("sample", "meld")] == ["minilm", "none"]


def test_the_selected_encoder_has_the_settings_and_weights_of_its_corpus():
    selection = factory.select_encoder("text", "sample")
    assert (selection.stream, selection.config) == ("text/minilm", factory.encoding_section("text"))
    assert selection.weights == tuned.tuned_folder("text", "minilm")
    assert selection.build().name == "minilm"
    assert selection.reader() is factory.modality_package("text").reader(selection.config)


def test_batches_keep_to_the_budget_and_leave_nobody_out():
    sizes = [7, 1, 30, 2, 2, 9, 1]
    cut = list(length_sorted_batches(sizes, 10))
    assert sorted(index for batch in cut for index in batch) == list(range(7))
    assert all(len(batch) * max(sizes[index] for index in batch) <= 10 or len(batch) == 1 for batch in cut)


def words(**changes):
    return factory.build("text", "minilm", factory.encoding_section("text").model_copy(update=changes))


def test_word_units_are_spans_of_the_text_and_cls_has_none():
    text = "It\x92s over, Ann"
    spans = words().units([TextInput(text, "")])[0].astype(int)
    assert [text[start:end] for start, end in spans] == ["", "It", "\x92", "s", "over", ",", "Ann"]


def test_a_stray_cp1252_apostrophe_reads_as_an_apostrophe_only_when_cleaned():
    stray, right = TextInput("it\x92s me", ""), TextInput("it’s me", "")
    assert np.array_equal(*extract_features(words(), [stray, right]))
    assert len(words(clean=[]).units([stray])[0]) != len(words().units([stray])[0])


def test_a_window_changes_features_and_leaves_the_steps_alone():
    line = TextInput(
        "fine",
        "Ann",
        before=(TextInput("we lost", "Bob"), TextInput("are you sad", "Bob")),
        after=(TextInput("liar", "Bob"),),
    )
    plain = extract_features(words(), [line])[0]
    for changes in (
        {"before": 1},
        {"before": 2},
        {"after": 1},
        {"speakers": True},
        {"before": 2, "speakers": True},
    ):
        seen = words(**changes)
        assert np.array_equal(seen.units([line])[0], words().units([line])[0])
        assert not np.allclose(extract_features(seen, [line])[0], plain, atol=1e-3)


def test_an_utterance_keeps_its_room_when_its_neighbours_are_long():
    long = TextInput("word " * 50, "Bob")
    line = TextInput("I never said that", "Ann", before=(long, long), after=(long,))
    narrow = words(max_tokens=16, before=2, after=1)
    assert narrow.prepare([line])["input_ids"].shape[1] <= 16
    assert len(narrow.units([line])[0]) == 5
    assert len(narrow.units([long])[0]) == 15


def test_pitch_of_a_voice_is_found_and_silence_has_none():
    encoder = factory.build("audio", "prosody", factory.encoding_section("audio"))
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    for hertz in (75, 140, 220, 400):
        voice = torch.from_numpy(0.1 * sawtooth(2 * np.pi * hertz * time).astype(np.float32))
        octave, voicing = encoder.pitch(voice[None], 100)
        assert abs(octave[0, 50].item() - np.log2(hertz / 150)) < 0.03
        assert voicing[0, 50] > 0.95
    assert encoder.pitch(torch.zeros(1, SAMPLE_RATE), 100)[1].max() < 0.05


def test_log_mel_is_the_spectrogram_of_scipy():
    from scipy.signal import stft

    encoder = factory.build(
        "audio", "log-mel", factory.encoding_section("audio").model_copy(update={"frame_rate": 100.0})
    )
    sound = noise(6, SAMPLE_RATE)
    values = extract_features(encoder, [sound])[0]
    assert values.shape == (100, 64)
    hann = np.hanning(513)[:512]
    # our first window begins 176 samples before the sound, so that the third begins 144 samples into it
    shifted = stft(sound.samples[144:], window=hann, nperseg=512, noverlap=352, boundary=None, padded=False)[2]
    expected = np.log((np.abs(shifted) ** 2).T @ encoder.bands.numpy() + 1e-7)  # scipy divides by the window's sum
    assert np.allclose(values[2 : 2 + len(expected)], expected[: 100 - 2], atol=1e-3)


def test_log_mel_at_a_lower_rate_is_the_mean_of_its_frames():
    config = factory.encoding_section("audio")
    fine, coarse = (
        extract_features(
            factory.build("audio", "log-mel", config.model_copy(update={"frame_rate": rate})),
            [noise(6, SAMPLE_RATE)],
        )
        for rate in (100.0, 10.0)
    )
    assert np.allclose(fine[0].reshape(10, 10, 64).mean(axis=1), coarse[0], atol=1e-4)


def test_egemaps_without_its_package_is_one_line(monkeypatch):
    monkeypatch.setattr("merc.encoders.audio.egemaps.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"'egemaps' needs openSMILE.*research only: pip install -r requirements-"):
        factory.build("audio", "egemaps", factory.encoding_section("audio"))


def test_egemaps_is_what_opensmile_says():
    import opensmile

    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    voice = AudioInput((0.1 * sawtooth(2 * np.pi * 140 * time)).astype(np.float32))
    expected = smile.process_signal(voice.samples, SAMPLE_RATE).to_numpy()
    encoder = factory.build("audio", "egemaps", factory.encoding_section("audio"))
    assert np.allclose(extract_features(encoder, [voice])[0], expected, rtol=1e-5)
    assert encoder.units([voice])[0].tolist() == [[0, 1]]


def test_lip_sync_embeddings_are_those_of_its_network(workplace):
    from merc.encoders.lipsync import clip_inputs
    from models import lipsync

    config, network = factory.encoding_section("audio"), lipsync.load(Path("out/lipsync/vision"))
    voice = factory.build("audio", "lipsync", config.model_copy(update={"frame_rate": 25.0}))
    sound, seen = noise(7, 640 * 30), face(3, 30)
    with torch.inference_mode():
        heard = network.audio(torch.from_numpy(clip_inputs.log_mel(sound.samples, 30))[None])[0]
    assert np.allclose(extract_features(voice, [sound])[0][2:-2], heard.numpy(), atol=1e-3)
    config = factory.encoding_section("vision")
    lips = factory.build("vision", "lipsync", config.model_copy(update={"frame_rate": 25.0}))
    values = extract_features(lips, [seen])[0]
    assert values.shape == (30, 64)
    with torch.inference_mode():
        mouth = network.mouth(torch.from_numpy(clip_inputs.mouth_regions(seen.crops))[None])[0]
    assert (values[2:-2] * mouth.numpy()).sum(axis=1).min() > 0.98  # unit vectors; their mean face differs a little


@pytest.mark.parametrize("modality", ["audio", "vision"])
def test_lip_sync_embeddings_are_exported_with_their_weights(modality, workplace, tmp_path, monkeypatch):
    import shutil

    from merc.export import needed_encoders

    config = factory.encoding_section(modality)
    description = needed_encoders.describe_encoder(modality, [f"{modality}/lipsync"])
    assert description["weights"] == f"out/lipsync/{modality}"
    shutil.copytree(description["weights"], tmp_path / "exported")
    monkeypatch.chdir(tmp_path)  # where no stage has run
    built = factory.build(modality, "lipsync", config, weights=Path("exported"))
    assert needed_encoders.weights_sha256(built) == description["sha256"]


@pytest.mark.parametrize("modality", ["audio", "vision"])
def test_lip_sync_that_is_off_offers_no_encoder(modality, tmp_path, monkeypatch):
    from merc.runtime import results

    config = factory.encoding_section(modality)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="dvc repro lipsync"):
        factory.build(modality, "lipsync", config)
    results.write_disabled(Path("out/lipsync") / modality, "lipsync.epochs is 0")
    with pytest.raises(UserError, match=r"lip-sync is off \(lipsync.epochs is 0\)"):
        factory.build(modality, "lipsync", config)


def test_a_louder_voice_differs_and_what_follows_later_is_not_heard_before():
    encoder = factory.build("audio", "prosody", factory.encoding_section("audio"))
    quiet = noise(5, SAMPLE_RATE)
    loud = AudioInput(quiet.samples * 4)
    one, other = extract_features(encoder, [quiet, loud])
    energy = 24  # the column after the mel bands
    assert np.allclose((other - one)[:, energy], np.log(16), atol=0.1)


def test_an_edge_falls_into_its_orientation_and_contrast_is_taken_out():
    encoder = factory.build("vision", "hog", factory.encoding_section("vision"))
    upright = np.zeros((1, 64, 64, 3), np.uint8)
    upright[:, :, 30:] = 255
    lying = upright.transpose(0, 2, 1, 3)
    pale = (upright // 4 + 100).astype(np.uint8)
    tensors = [torch.from_numpy(crops.copy()).permute(0, 3, 1, 2).float() / 255 for crops in (upright, lying, pale)]
    described = [encoder.describe(one)[0] for one in tensors]
    of_bin = [one[: 64 * 4].view(4, 64).sum(dim=1) for one in described]
    assert [int(one.argmax()) for one in of_bin[:2]] == [0, 2]
    assert torch.allclose(described[0], described[2], atol=0.1)


def test_the_page_of_encoders_says_what_the_tables_say():
    from merc.encoders import catalogue

    assert (PARAMS.parent / catalogue.PAGE).read_text(encoding="utf-8") == catalogue.page(
        PARAMS.parent / catalogue.PRESETS
    )
