"""Low-rank adaptation of encoder layers (LoRA, Hu et al. 2021) by peft, merged into the weights at the end."""

from collections.abc import Sequence

from torch import nn

from merc.runtime.errors import UserError

SCALE = 2.0  # factor of a low-rank update: alpha / rank


def add_updates(encoder: nn.Module, layers: Sequence[nn.Module], rank: int) -> None:
    """Add an update of this rank, initially zero, to every linear map of the layers; freeze all other weights."""
    from peft import LoraConfig, inject_adapter_in_model

    linear_ids = {id(module) for layer in layers for module in layer.modules() if isinstance(module, nn.Linear)}
    names = [name for name, module in encoder.named_modules() if id(module) in linear_ids]
    if not names:
        raise UserError("params.yaml: lora: this encoder's layers have no linear maps; set lora to 0")
    config = LoraConfig(r=rank, lora_alpha=round(SCALE * rank), lora_dropout=0.0, target_modules=names)
    inject_adapter_in_model(config, encoder)


def update_parameters(layer: nn.Module) -> list[nn.Parameter]:
    """The parameters that `add` put into a layer."""
    return [parameter for name, parameter in layer.named_parameters() if "lora_" in name]


def merge_updates(encoder: nn.Module) -> None:
    """Add the updates to the weights and restore the encoder's original structure."""
    if not any("lora_" in name for name, _ in encoder.named_parameters()):
        return
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(encoder.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge(safe_merge=True)
            parent, _, attribute = name.rpartition(".")
            setattr(encoder.get_submodule(parent), attribute, module.get_base_layer())
