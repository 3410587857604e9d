"""Training and inference take one forward path: without dropout and batch statistics they give the same."""

import copy
from pathlib import Path

import packed
import pytest
import torch
from torch import nn

from merc.data.batches import dataset
from merc.data.records.labels import label_space
from merc.training.core import loop
from models.context import CONTEXTS
from models.heads import HEADS
from models.network import FUSIONS, Network, NetworkConfig
from models.stems import STEMS, BatchNorm

MODALITIES = ("text", "audio", "vision")
CHOICES = [
    *({"fusion": name} for name in FUSIONS),
    *({"context": name} for name in CONTEXTS),
    *({"heads": name} for name in HEADS),
    *({"stem": dict.fromkeys(MODALITIES, name)} for name in STEMS),
]


@pytest.fixture
def split(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packed.write_split("train", seed=1, dialogues=12)
    return dataset.read_split("train", ["sample"], MODALITIES, label_space("meld"))


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: "-".join(map(str, *choice.items())))
def test_a_network_in_training_gives_what_it_gives_in_evaluation(split, choice):
    torch.manual_seed(1)
    about = {
        "modalities": list(MODALITIES), "dim": 16, "fused": 16, "stem": dict.fromkeys(MODALITIES, "conv1d"),
        "fusion": "esag", "context": "gru", "heads": "independent", "causal": False, "dropout": 0.0, "roles": 3,
        "belief_weight": 0.3,
    }  # fmt: skip
    evaluated = Network(NetworkConfig.model_validate(about | choice), split.streams, split.heads()).eval()
    for name, parameter in evaluated.named_parameters():
        if name.startswith(("context.out", "fusion")) and parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.2)
    loop.standardise(evaluated, split)
    trained = copy.deepcopy(evaluated).train()
    for module in trained.modules():
        if isinstance(module, BatchNorm):
            module.eval()
    batch = split.batch([0, 4, 9, 11])
    outputs = [network(batch) for network in (trained, evaluated)]
    for task in ("emotion", "sentiment", "context"):
        torch.testing.assert_close(outputs[0][task], outputs[1][task])
        assert outputs[0][task].std() > 1e-3


def test_no_module_of_the_networks_writes_its_own_gradient_or_sets_a_global_switch():
    import models

    for file in sorted(Path(models.__path__[0]).glob("*.py")):
        text = file.read_text(encoding="utf-8")
        assert "autograd.Function" not in text, file
        assert "torch.backends" not in text, file
