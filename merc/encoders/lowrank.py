"""Low-rank updates (LoRA, Hu et al. 2021) by peft: few weights learn, and end as part of the layers."""

from collections.abc import Sequence

from torch import nn

from merc.problem import Problem

SCALE = 2.0  # of an update: alpha / rank


def add(encoder: nn.Module, layers: Sequence[nn.Module], rank: int) -> None:
    """Give every linear map of the layers an update of this rank, zero at first; all else is frozen."""
    from peft import LoraConfig, inject_adapter_in_model

    inside = {id(part) for layer in layers for part in layer.modules() if isinstance(part, nn.Linear)}
    names = [name for name, part in encoder.named_modules() if id(part) in inside]
    if not names:
        raise Problem("params.yaml: lora: this encoder's layers have no linear maps; set lora to 0")
    config = LoraConfig(r=rank, lora_alpha=round(SCALE * rank), lora_dropout=0.0, target_modules=names)
    inject_adapter_in_model(config, encoder)


def updates(layer: nn.Module) -> list[nn.Parameter]:
    """What `add` put into a layer."""
    return [parameter for name, parameter in layer.named_parameters() if "lora_" in name]


def merge(encoder: nn.Module) -> None:
    """Add the updates to the weights, and leave the encoder in the form in which it came."""
    if not any("lora_" in name for name, _ in encoder.named_parameters()):
        return
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, part in list(encoder.named_modules()):
        if isinstance(part, BaseTunerLayer):
            part.merge(safe_merge=True)
            home, _, last = name.rpartition(".")
            setattr(encoder.get_submodule(home), last, part.get_base_layer())
