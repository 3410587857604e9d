"""Hugging Face language models as text encoders."""

from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from merc.encoders.pretrained import loading
from merc.encoders.text.language_model_encoder import ContextWindow, LanguageModelEncoder, SpecialTokens
from merc.runtime.errors import UserError

if TYPE_CHECKING:
    from merc.encoders.pretrained.loading import PretrainedModel


class LastHidden(nn.Module):
    """Returns only the last hidden state of a Hugging Face model."""

    def __init__(self, model: "PretrainedModel") -> None:
        super().__init__()
        self.model = model

    def get_input_embeddings(self) -> nn.Embedding:
        return self.model.get_input_embeddings()

    def use_eager_attention(self) -> None:
        """Compute attention by single operations instead of PyTorch's fused function."""
        self.model.set_attn_implementation("eager")

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def load_language_model(name: str, folder: Path, window: ContextWindow) -> LanguageModelEncoder:
    """Load the model and tokenizer of a Hugging Face folder; of an encoder-decoder, the encoder."""
    model = loading.load_model(folder)
    config = model.config
    tokenizer = loading.load_tokenizer(folder, config.vocab_size)
    if window.max_tokens > (longest := _longest_input(model) or window.max_tokens):
        raise UserError(
            f"params.yaml: encode.text.max_tokens = {window.max_tokens}: {name} reads at most {longest}"
        )
    special = SpecialTokens(
        first=_first_known(tokenizer.cls_token_id, tokenizer.bos_token_id),
        separator=_first_known(tokenizer.sep_token_id, tokenizer.eos_token_id),
        padding=0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
    )
    encoder = model.get_encoder() if config.is_encoder_decoder else model
    return LanguageModelEncoder(
        name, LastHidden(encoder), config.hidden_size, tokenizer.backend_tokenizer, special, window
    )


def _longest_input(model: "PretrainedModel") -> int | None:
    """Number of tokens that the model has positions for; RoBERTa's and MPNet's begin after that of the padding."""
    number = getattr(model.config, "max_position_embeddings", None)
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and (padding := getattr(module, "padding_idx", None)) is not None:
            return number and number - padding - 1
    return number


def _first_known(*ids: int | None) -> int | None:
    return next((token_id for token_id in ids if token_id is not None), None)
