"""A tokenizer folder without its vocabulary loads silently, as 7 tokens."""

import pytest
import tiny
from test_weights import build, weights  # noqa: F401 (fixtures)
from transformers import (
    BertConfig,
    BertModel,
)

from merc.runtime.errors import UserError


def test_a_tokenizer_without_its_vocabulary_is_refused(weights):  # noqa: F811
    tiny.language(BertModel, BertConfig, weights / "mine")
    (weights / "mine/tokenizer.json").unlink()
    with pytest.raises(UserError, match="tokenizer"):
        build("text", "mine")
