"""Checks that end a training as soon as its loss or weights are not finite: everything after that is noise."""

import math
from collections.abc import Mapping

from torch import nn

from merc.runtime.errors import UserError

REMEDY = "lower the learning rate, or look for broken features (out/encode/report)"


def check_losses(losses: Mapping[str, float], epoch: int) -> None:
    """Raise if any mean loss of an epoch (counted from 1) is NaN or infinite."""
    if not all(map(math.isfinite, losses.values())):
        values = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
        raise UserError(f"epoch {epoch}: the loss is no finite number ({values}); {REMEDY}")


def check_weights(network: nn.Module) -> None:
    """Raise if any weight is NaN or infinite: the last step may have broken it before a loss could show it."""
    for name, parameter in network.named_parameters():
        if not parameter.isfinite().all():
            raise UserError(f"the weights of the best epoch are no finite numbers ({name}); {REMEDY}")
