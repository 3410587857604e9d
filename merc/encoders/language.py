"""Any Hugging Face language model as a text encoder."""

from pathlib import Path

from torch import Tensor, nn

from merc.encoders import pretrained
from merc.encoders.words import Special, Window, Words
from merc.problem import Problem


class _LastHidden(nn.Module):
    """Takes of a Hugging Face model's answer what a text encoder needs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def language(name: str, folder: Path, window: Window) -> Words:
    """The model of a folder with its own tokenizer; of an encoder-decoder the encoder."""
    model = pretrained.model(folder)
    config = model.config
    tokenizer = pretrained.tokenizer(folder, config.vocab_size)
    if window.max_tokens > (longest := getattr(config, "max_position_embeddings", None) or window.max_tokens):
        raise Problem(f"params.yaml: encode.text.max_tokens = {window.max_tokens}: {name} reads at most {longest}")
    special = Special(
        first=_first_known(tokenizer.cls_token_id, tokenizer.bos_token_id),
        separator=_first_known(tokenizer.sep_token_id, tokenizer.eos_token_id),
        padding=_first_known(tokenizer.pad_token_id, 0),
    )
    encoder = model.get_encoder() if config.is_encoder_decoder else model
    return Words(name, _LastHidden(encoder), config.hidden_size, tokenizer.backend_tokenizer, special, window)


def _first_known(*ids: int | None) -> int | None:
    return next((one for one in ids if one is not None), None)
