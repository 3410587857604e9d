"""Whisper from CTranslate2's files (model.bin, tokenizer.json) to a folder that transformers loads.

model.bin, version 6, little-endian: version, specification, revision, then the number of variables, and for each
its name, rank, dimensions, type, bytes; then aliases (decoder/projection is decoder/embeddings). Query, key and
value are stacked in `linear_0`; the bias of the key is 0, and transformers' model has none. Half precision.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from merc.runtime.errors import UserError

TYPES = ("<f4", "<i1", "<i2", "<i4", "<f2")  # by CTranslate2's number
MODULES = {  # of a layer, CTranslate2 -> transformers; several: stacked along the first dimension
    "self_attention/layer_norm": ("self_attn_layer_norm",),
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention/linear_1": ("self_attn.out_proj",),
    "attention/layer_norm": ("encoder_attn_layer_norm",),
    "attention/linear_0": ("encoder_attn.q_proj",),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "attention/linear_2": ("encoder_attn.out_proj",),
    "ffn/layer_norm": ("final_layer_norm",),
    "ffn/linear_0": ("fc1",),
    "ffn/linear_1": ("fc2",),
}
SINGLE = {"embeddings": "embed_tokens", "position_encodings": "embed_positions"}
PARAMETERS = {"gamma": "weight", "beta": "bias", "encodings": "weight"}
LAST_TIMESTAMP = 1500  # <|30.00|>, in steps of 0.02 s


def convert(origin: Path, folder: Path) -> None:
    """Write config, weights, tokenizer and preprocessor of the Whisper in `origin` to `folder`."""
    from safetensors.numpy import save_file

    variables = dict(_variables(origin / "model.bin"))
    tensors = {name: tensor for old, value in variables.items() for name, tensor in _renamed(old, value)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer = json.loads((origin / "tokenizer.json").read_text(encoding="utf-8"))
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    settings = json.loads((origin / "config.json").read_text(encoding="utf-8"))
    config = _config(tensors, ids, int(variables["encoder/num_heads"]))
    files = {
        "config.json": config,
        "generation_config.json": _generation(settings, ids, config),
        "preprocessor_config.json": _preprocessor(config["num_mel_bins"]),
        "tokenizer.json": _with_timestamps(tokenizer),
        "tokenizer_config.json": {
            "tokenizer_class": "WhisperTokenizer",
            "model_max_length": config["max_target_positions"],
            **dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), "<|endoftext|>"),
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _variables(file: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values of the variables of a model.bin."""
    content, place = file.read_bytes(), 0

    def number(form: str) -> int:
        nonlocal place
        place += struct.calcsize(form)
        return struct.unpack_from(f"<{form}", content, place - struct.calcsize(form))[0]

    def text() -> str:
        nonlocal place
        length = number("H")
        place += length
        return content[place - length : place - 1].decode()  # ends in a zero byte

    version, specification = number("I"), text()
    if (version, specification) != (6, "WhisperSpec"):
        raise UserError(f"{file}: version {version} of {specification!r}, and version 6 of WhisperSpec is read")
    number("I")  # revision of the specification
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind, size = TYPES[number("B")], number("I")
        yield name, np.frombuffer(content, kind, size // np.dtype(kind).itemsize, place).reshape(shape)
        place += size


def _renamed(name: str, value: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """transformers' names and tensors of one variable; nothing for a setting."""
    if not value.ndim or name == "decoder/alignment_heads":
        return
    part, *middle, last = name.split("/")
    parameter = PARAMETERS.get(last, last)
    if not middle[0].startswith("layer_") or middle[0] == "layer_norm":
        yield f"model.{part}.{SINGLE.get(middle[0], middle[0])}.{parameter}", value
        return
    modules = MODULES["/".join(middle[1:])]
    for module, slice_ in zip(modules, np.split(value, len(modules)), strict=True):
        if parameter == "bias" and module.endswith("k_proj"):
            if slice_.any():
                raise UserError(f"{name}: the key has a bias, and Whisper's has none")
            continue
        yield (
            f"model.{part}.layers.{middle[0].removeprefix('layer_')}.{module}.{parameter}",
            np.ascontiguousarray(slice_),
        )


def _config(tensors: dict[str, np.ndarray], ids: dict[str, int], heads: int) -> dict:
    """config.json, by the shapes of the tensors."""
    layers = {
        part: sum(f"{part}.layers" in name and name.endswith("fc1.bias") for name in tensors)
        for part in ("encoder", "decoder")
    }
    width, bands, _ = tensors["model.encoder.conv1.weight"].shape
    hidden = tensors["model.encoder.layers.0.fc1.bias"].shape[0]
    vocabulary = tensors["model.decoder.embed_tokens.weight"].shape[0]
    end = ids["<|endoftext|>"]
    return {
        "model_type": "whisper",
        "architectures": ["WhisperForConditionalGeneration"],
        "dtype": "float16",
        "is_encoder_decoder": True,
        "d_model": width,
        "num_mel_bins": bands,
        "vocab_size": vocabulary,
        "max_source_positions": tensors["model.encoder.embed_positions.weight"].shape[0],
        "max_target_positions": tensors["model.decoder.embed_positions.weight"].shape[0],
        **{f"{part}_layers": number for part, number in layers.items()},
        **{f"{part}_attention_heads": heads for part in layers},
        **{f"{part}_ffn_dim": hidden for part in layers},
        "num_hidden_layers": layers["encoder"],
        "activation_function": "gelu",
        "scale_embedding": False,
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), end),
        "decoder_start_token_id": ids["<|startoftranscript|>"],
    }


def _generation(settings: dict, ids: dict[str, int], config: dict) -> dict:
    """generation_config.json: the tokens that start, are suppressed, or name a language and a task."""
    languages = {token: number for token, number in ids.items() if number in settings["lang_ids"]}
    several = "<|en|>" in languages  # the ids in the settings of an English model are another's
    tasks = {"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]}
    return {
        **{
            name: config[name]
            for name in ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
        },
        "max_length": config["max_target_positions"],
        "max_initial_timestamp_index": 50,
        "no_timestamps_token_id": ids["<|notimestamps|>"],
        "prev_sot_token_id": ids["<|startofprev|>"],
        "return_timestamps": False,
        "suppress_tokens": settings["suppress_ids"],
        "begin_suppress_tokens": settings["suppress_ids_begin"],
        "alignment_heads": settings["alignment_heads"],
        "is_multilingual": several,
        **({"lang_to_id": languages, "task_to_id": tasks, "task": "transcribe"} if several else {}),
    }


def _preprocessor(bands: int) -> dict:
    """preprocessor_config.json: log-mel of 25 ms each 10 ms, padded to 30 s."""
    return {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": bands,
        "sampling_rate": 16000,
        "hop_length": 160,
        "n_fft": 400,
        "chunk_length": 30,
        "padding_value": 0.0,
        "return_attention_mask": False,
    }


def _with_timestamps(tokenizer: dict) -> dict:
    """The tokenizer with the tokens of its times, which its file leaves out, after those that it has."""
    first = max(token["id"] for token in tokenizer["added_tokens"]) + 1
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    times = [{"id": first + step, "content": f"<|{step / 50:.2f}|>", **plain} for step in range(LAST_TIMESTAMP + 1)]
    return {**tokenizer, "added_tokens": [*tokenizer["added_tokens"], *times]}
