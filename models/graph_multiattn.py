"""The conversation as a graph first, then attention between the dialogue's utterance sequences."""

from torch import Tensor, nn

from models.graph import Nodes
from models.latents import Latents
from models.multiattn import Between


class GraphMultiAttn(nn.Module):
    """u = Between(h), h_nm the graph's node of utterance n and modality m.

    As in the seed with lip-sync features: what the speakers did before and after is heard along the edges, within
    a window; the modalities then attend to each other over the whole dialogue. The order of the two is the seed's,
    the parts are those of `graph` and `multiattn`.
    """

    def __init__(
        self, modalities: tuple[str, ...], dim: int, emotions: int, dropout: float, roles: int, fused: int
    ):
        super().__init__()
        self.nodes = Nodes(modalities, dim, dropout)
        self.between = Between(modalities, dim, dropout, fused)

    def forward(self, latents: Latents, causal: bool) -> tuple[Tensor, dict[str, Tensor]]:
        nodes = self.nodes(latents, causal)
        told = dict(zip(self.between.modalities, nodes.unbind(1), strict=True))
        return self.between(told, latents.present, latents.place, causal)
