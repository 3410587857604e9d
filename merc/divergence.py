"""A training whose loss or weights are no finite numbers any more ends at once: all that follows would be noise."""

import math
from collections.abc import Mapping

from torch import nn

from merc.problem import Problem

REMEDY = "lower the learning rate, or look for broken features (out/encode/report)"


def check_losses(losses: Mapping[str, float], epoch: int) -> None:
    """Refuse an epoch, counted from 1, of which any mean loss is NaN or infinite."""
    if not all(map(math.isfinite, losses.values())):
        told = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
        raise Problem(f"epoch {epoch}: the loss is no finite number ({told}); {REMEDY}")


def check_weights(network: nn.Module) -> None:
    """Refuse to keep a network that its last step broke, which no loss has told yet."""
    for name, parameter in network.named_parameters():
        if not parameter.isfinite().all():
            raise Problem(f"the weights of the best epoch are no finite numbers ({name}); {REMEDY}")
