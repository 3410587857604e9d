"""Safe loading of pretrained models: the right architecture, complete weights, no foreign code."""

import json
from pathlib import Path
from pickle import UnpicklingError  # the error alone, which torch.load raises
from typing import TYPE_CHECKING, Any, Protocol

import torch
from safetensors import SafetensorError
from torch import nn

from merc.runtime.errors import UserError

# may be missing: no feature depends on them
OPTIONAL_WEIGHTS = ("pooler", "masked_spec_embed", "mask_token", "decoder")
MIN_VOCABULARY_RATIO = 0.9  # minimum vocabulary size / embedding rows; embeddings are padded to round numbers

if TYPE_CHECKING:

    class ModelConfig(Protocol):
        """What merc reads of the configuration of a Hugging Face model; each kind of model has a part of it."""

        model_type: str
        is_encoder_decoder: bool
        hidden_size: int
        num_hidden_layers: int
        vocab_size: int
        pad_token_id: int
        inputs_to_logits_ratio: int  # of speech models: samples per frame

    class PretrainedModel(nn.Module):
        """What merc uses of a Hugging Face model; each kind of model has a part of it."""

        config: ModelConfig

        def get_input_embeddings(self) -> nn.Embedding: ...

        def get_encoder(self) -> "PretrainedModel": ...

        def set_attn_implementation(self, name: str) -> None: ...

        def _get_feat_extract_output_lengths(self, lengths: torch.Tensor) -> torch.Tensor: ...


def load_model(folder: Path, kind: str | type = "AutoModel", **changes: Any) -> "PretrainedModel":
    """Load the model of a Hugging Face folder, from safetensors or else from .bin with weights_only.

    `kind` is AutoModel, one of transformers' classes for a task, or the class of a part of the model; `changes`
    replace values of its configuration.
    """
    import transformers
    from transformers import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    options = {"local_files_only": True, "trust_remote_code": False, **changes}
    try:
        loaded, report = (getattr(transformers, kind) if isinstance(kind, str) else kind).from_pretrained(
            folder,
            use_safetensors=bool(list(folder.glob("*.safetensors"))),
            dtype=torch.float32,  # not the dtype of the file: DeBERTa-v3's is half, which is not trainable
            output_loading_info=True,
            **options,
        )
    except UnpicklingError as error:
        raise _refused(folder, error) from None
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{folder}: does not load: {' '.join(str(error).split())[:300]}") from None
    _check_complete(folder, report)
    return loaded.eval()


def load_tokenizer(folder: Path, size: int) -> Any:
    """Load the fast tokenizer of a folder; its vocabulary must fit the `size` embeddings of the model."""
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_fast=True
        )
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"{folder}: its tokenizer does not load: {' '.join(str(error).split())[:300]}") from None
    if not MIN_VOCABULARY_RATIO * size <= len(loaded) <= size:
        # a folder without a vocabulary file loads silently, with only a few special tokens
        raise UserError(
            f"{folder}: its tokenizer has {len(loaded)} tokens and its model {size}; bring both from one place"
        )
    if not loaded.is_fast:
        raise UserError(f"{folder}: its tokenizer gives no character offsets; bring its tokenizer.json")
    return loaded


def read_config(folder: Path) -> dict[str, Any]:
    """Content of config.json; empty where there is none, which load_model refuses."""
    file = folder / "config.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def read_preprocessor_config(folder: Path) -> dict[str, Any]:
    """Content of preprocessor_config.json: the scaling of inputs in the model's training."""
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        raise UserError(
            f"{file}: not there; it says how the model's input is scaled: copy it from where the model is from"
        )
    return json.loads(file.read_text(encoding="utf-8"))


def read_weights(file: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a .safetensors, .pth, .pt or .bin file; a pickle with other objects is refused."""
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise _refused(file, error) from None


def load_checkpoint(network: nn.Module, file: Path) -> nn.Module:
    """Load a checkpoint file into a network of exactly this architecture."""
    try:
        network.load_state_dict(read_weights(file))
    except RuntimeError as error:
        raise UserError(f"{file}: is not of this form: {' '.join(str(error).split())[:300]}") from None
    return network.eval()


def _check_complete(folder: Path, report: dict[str, Any]) -> None:
    """Raise a UserError if weights are missing or differ in shape."""
    missing = sorted(key for key in report["missing_keys"] if not any(part in key for part in OPTIONAL_WEIGHTS))
    mismatched = sorted(str(key) for key in report["mismatched_keys"])
    if missing or mismatched:
        names = ", ".join([*missing, *mismatched][:3])
        raise UserError(
            f"{folder}: {len(missing) + len(mismatched)} weights are missing or of another size ({names} ...)"
        )


def _refused(file: Path, error: Exception) -> UserError:
    lines = str(error).splitlines()
    reason = " ".join(next((line for line in lines if "GLOBAL" in line or "Unsupported" in line), lines[0]).split())
    return UserError(f"{file}: refused: it holds more than tensors ({reason[:200]}); bring safetensors")
