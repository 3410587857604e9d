"""A current directory with made-up conversations and tiny local models of language and speech to fine-tune."""

import subprocess
import sys
from pathlib import Path

import tiny
import torch
import yaml
from scenes import extracted
from transformers import BertConfig, BertModel, HubertConfig, HubertModel

from merc.encoders.base import factory, tuned
from merc.encoders.base.encoder import Encoder

ROOT = Path(__file__).resolve().parent.parent


def set_up(section: str, *, encoder: str = "", layer: int | str = -1, **changes) -> None:
    """Parameters with `section` (dotted) changed, train and dev extracted, tiny models below data/weights."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    document["compute"] |= {"workers": 1, "device": "cpu"}
    document["model"] |= {"dim": 16, "fused": 16, "fusion": "concat", "context": "none", "dropout": 0.0}
    document["encode"]["text"] |= {"encoder": "tiny"}
    document["encode"]["audio"] |= {"encoder": encoder or "prosody", "layer": layer}
    node = document
    for name in section.split("."):
        node = node[name]
    node |= changes
    Path("params.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    if not Path("data/weights/tiny").is_dir():
        _language_model(Path("data/weights/tiny"))
        tiny.speech(HubertModel, HubertConfig, Path("data/weights/speaks"))
        extracted("train", "sample", 24, seed=0)
        extracted("dev", "sample", 8, seed=100)


def _language_model(folder: Path) -> None:
    """Random weights, so wide apart that different words have different features."""
    torch.manual_seed(0)
    words = tiny.tokenizer()
    BertModel(BertConfig(vocab_size=len(words), initializer_range=0.5, **tiny.WORDS)).save_pretrained(folder)
    words.save_pretrained(folder)


def original() -> Encoder:
    """The encoder before anything was done to it."""
    return factory.build("text", "tiny", factory.encoding_section("text"))


def as_encode_loads_it() -> Encoder:
    """The encoder that encode would use now."""
    return factory.build(
        "text", "tiny", factory.encoding_section("text"), weights=tuned.tuned_folder("text", "tiny")
    )


def changed(before: Encoder, after: Encoder) -> set[str]:
    """Names of the weights that differ."""
    pairs = zip(before.state_dict().items(), after.state_dict().values(), strict=True)
    return {name for (name, one), other in pairs if not torch.equal(one, other)}


def run_without_torch(stage: str, *words: str) -> None:
    """The stage in a process of its own, which must not have imported torch."""
    code = f"import sys; from stages.{stage} import main; main(*{words!r}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(ROOT)})
