"""Pretrained models from their files: the right architecture, all of its weights, and no code from strangers."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from merc.problem import Problem

UnpicklingError = torch.serialization.pickle.UnpicklingError
UNUSED = ("pooler", "masked_spec_embed", "mask_token", "decoder")  # may be missing: no feature depends on them
SMALLEST_SHARE = 0.9  # of the embedding's rows that a tokenizer must know; embeddings are padded to round numbers


def model(folder: Path, kind: str = "AutoModel") -> nn.Module:
    """The model of a Hugging Face folder; safetensors first, else .bin through weights_only.

    `kind` is AutoModel, or one of transformers' classes for a task.
    """
    import transformers
    from transformers import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    safely = {"local_files_only": True, "trust_remote_code": False}
    try:
        loaded, report = getattr(transformers, kind).from_pretrained(
            folder,
            use_safetensors=bool(list(folder.glob("*.safetensors"))),
            dtype=torch.float32,  # else the file's own: DeBERTa-v3's is half, in which nothing can be learnt
            output_loading_info=True,
            **safely,
        )
    except UnpicklingError as error:
        raise _refused(folder, error) from None
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise Problem(f"{folder}: does not load: {' '.join(str(error).split())[:300]}") from None
    _check_complete(folder, report)
    return loaded.eval()


def tokenizer(folder: Path, size: int) -> Any:
    """The fast tokenizer of a folder, if it knows the `size` tokens that its model has embeddings for."""
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False, use_fast=True)
    except (OSError, ValueError, ImportError) as error:
        raise Problem(f"{folder}: its tokenizer does not load: {' '.join(str(error).split())[:300]}") from None
    if not SMALLEST_SHARE * size <= len(found) <= size:
        # a folder without a vocabulary file loads silently, as a handful of special tokens
        raise Problem(
            f"{folder}: its tokenizer has {len(found)} tokens and its model {size}; bring both from one place"
        )
    if not found.is_fast:
        raise Problem(f"{folder}: its tokenizer gives no character offsets; bring its tokenizer.json")
    return found


def preprocessor(folder: Path) -> dict[str, Any]:
    """preprocessor_config.json: how inputs were scaled when the model was trained."""
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        raise Problem(f"{file}: not there, so that nobody knows how the model's input is scaled; bring it")
    return json.loads(file.read_text(encoding="utf-8"))


def weights(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors, .pth, .pt or .bin file; whatever else a pickle holds is refused by name."""
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise _refused(file, error) from None


def load(network: nn.Module, file: Path) -> nn.Module:
    """Put a checkpoint file's weights into a network of exactly that form."""
    try:
        network.load_state_dict(weights(file))
    except RuntimeError as error:
        raise Problem(f"{file}: is not of this form: {' '.join(str(error).split())[:300]}") from None
    return network.eval()


def _check_complete(folder: Path, report: dict[str, Any]) -> None:
    missing = sorted(key for key in report["missing_keys"] if not any(part in key for part in UNUSED))
    wrong = sorted(str(key) for key in report["mismatched_keys"])
    if missing or wrong:
        names = ", ".join([*missing, *wrong][:3])
        raise Problem(f"{folder}: {len(missing) + len(wrong)} weights are missing or of another size ({names} ...)")


def _refused(file: Path, error: Exception) -> Problem:
    lines = str(error).splitlines()
    said = " ".join(next((line for line in lines if "GLOBAL" in line or "Unsupported" in line), lines[0]).split())
    return Problem(f"{file}: refused: it holds more than tensors ({said[:200]}); bring safetensors")
