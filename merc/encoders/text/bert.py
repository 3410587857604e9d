"""BERT's encoder in plain torch: avoids the import of transformers, which takes five seconds."""

import json
from pathlib import Path
from typing import cast

from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional


class Bert(nn.Module):
    """Devlin et al. 2019, without the pooler; parameters are named as in Hugging Face's BertModel."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        width, layers = config["hidden_size"], config["num_hidden_layers"]
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(config["vocab_size"], width),
                "position_embeddings": nn.Embedding(config["max_position_embeddings"], width),
                "token_type_embeddings": nn.Embedding(config["type_vocab_size"], width),
                "LayerNorm": nn.LayerNorm(width, config["layer_norm_eps"]),
            }
        )
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer(config) for _ in range(layers))})
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])

    def get_input_embeddings(self) -> nn.Embedding:
        """Embedding of the token ids; named as in Hugging Face's models."""
        return self._embedding("word_embeddings")

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Token ids (N, L), mask of the tokens that are not padding (N, L) -> hidden states (N, L, width)."""
        positions = self._embedding("position_embeddings").weight[: input_ids.shape[1]]
        first_type = self._embedding("token_type_embeddings").weight[0]
        hidden = self.embeddings["word_embeddings"](input_ids) + positions + first_type
        hidden = self.dropout(self.embeddings["LayerNorm"](hidden))
        for layer in cast(nn.ModuleList, self.encoder["layer"]):
            hidden = layer(hidden, attention_mask[:, None, None].bool())
        return hidden

    def _embedding(self, name: str) -> nn.Embedding:
        return cast(nn.Embedding, self.embeddings[name])


class Layer(nn.Module):
    """Self-attention and a feed-forward block, each with a residual connection and post-norm."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        width, inner, epsilon = config["hidden_size"], config["intermediate_size"], config["layer_norm_eps"]
        self.heads = config["num_attention_heads"]
        projections = {name: nn.Linear(width, width) for name in ("query", "key", "value")}
        self.attention = nn.ModuleDict(
            {"self": nn.ModuleDict(projections), "output": _output(width, width, epsilon)}
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = _output(inner, width, epsilon)
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        output = cast(nn.ModuleDict, self.attention["output"])
        hidden = self._add_and_norm(output, self._attend(hidden, mask), hidden)
        return self._add_and_norm(self.output, functional.gelu(self.intermediate["dense"](hidden)), hidden)

    def _attend(self, hidden: Tensor, mask: Tensor) -> Tensor:
        projections = cast(nn.ModuleDict, self.attention["self"])
        query, key, value = (
            projections[name](hidden).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        return functional.scaled_dot_product_attention(query, key, value, mask).transpose(1, 2).flatten(2)

    def _add_and_norm(self, output: nn.ModuleDict, values: Tensor, hidden: Tensor) -> Tensor:
        return output["LayerNorm"](self.dropout(output["dense"](values)) + hidden)


def _output(width_in: int, width: int, epsilon: float) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(width_in, width), "LayerNorm": nn.LayerNorm(width, epsilon)})


def load(folder: Path) -> Bert:
    """Load the model of a Hugging Face folder; other weights in it (a pooler, position ids) are ignored."""
    model = Bert(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    names = model.state_dict()
    weights = {name: tensor for name, tensor in load_file(folder / "model.safetensors").items() if name in names}
    model.load_state_dict(weights)
    return model.eval()
