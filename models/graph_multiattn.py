"""Fusion by a graph of the conversation, then attention between the modalities' utterance sequences."""

from torch import Tensor, nn

from models.graph import GraphNodes
from models.latents import Latents
from models.multiattn import ModalityAttention


class GraphMultiAttn(nn.Module):
    """u = MultiAttn(h), h_nm the graph's node of utterance n and modality m.

    As in the seed with lip-sync features: utterances exchange messages along the edges, within a window; the
    modalities then attend to each other over the whole dialogue. The order of the two is the seed's, the modules
    are those of `graph` and `multiattn`.
    """

    def __init__(self, modalities: tuple[str, ...], dim: int, emotions: int, dropout: float, fused: int):
        super().__init__()
        self.nodes = GraphNodes(modalities, dim, dropout)
        self.between = ModalityAttention(modalities, dim, dropout, fused)

    def forward(self, latents: Latents, causal: bool) -> tuple[Tensor, dict[str, Tensor]]:
        nodes = self.nodes(latents, causal)
        by_modality = dict(zip(self.between.modalities, nodes.unbind(1), strict=True))
        return self.between(by_modality, latents.present, latents.position, causal)
