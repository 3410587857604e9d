"""Tiny models with random weights, saved in the form in which the real ones are published."""

import json
from functools import partial
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    HubertConfig,
    HubertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    TimesformerConfig,
    TimesformerModel,
    ViTConfig,
    ViTModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
)

LETTERS = [chr(code) for code in range(33, 127)]
SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
WORDS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SPEECH = {
    **{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32},
    **{"conv_dim": [8] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4},
}
SIGHT = {**WORDS, "image_size": 32, "patch_size": 16}


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per character, pieces after the first marked as BERT marks them."""
    pieces = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    made = Tokenizer(models.WordPiece({piece: index for index, piece in enumerate(pieces)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 1), ("[SEP]", 2)])
    named = dict(zip(("pad_token", "cls_token", "sep_token", "unk_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=made, **named)


def _save(model: nn.Module, folder: Path) -> None:
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)


def language(kind, config, folder: Path, **options) -> None:
    words = tokenizer()
    _save(kind(config(vocab_size=len(words), pad_token_id=0, **WORDS, **options)), folder)
    words.save_pretrained(folder)


def speech(kind, config, folder: Path, **options) -> None:
    _save(kind(config(**SPEECH, **options)), folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True, "sampling_rate": 16000}))


def sight(kind, config, folder: Path, **options) -> None:
    _save(kind(config(**SIGHT, **options)), folder)
    scaling = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(scaling))


def resnet50(*args) -> nn.Module:
    """torchvision's ResNet-50 with one block where it has three to six, on pictures shrunk at once."""
    from torchvision.models.resnet import Bottleneck, ResNet

    torch.manual_seed(0)
    network = ResNet(Bottleneck, [1, 1, 1, 1])
    network.conv1.stride = (8, 8)
    return network


def r3d_18(*args) -> nn.Module:
    """torchvision's R3D-18 with one block where it has two, on pictures shrunk at once."""
    from torchvision.models.video.resnet import BasicBlock, Conv3DSimple, VideoResNet

    torch.manual_seed(0)
    stem = partial(nn.Conv3d, 3, 64, (3, 9, 9), (4, 8, 8), (1, 4, 4))
    return VideoResNet(BasicBlock, [Conv3DSimple] * 4, [1, 1, 1, 1], stem)


def checkpoint(network, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network().state_dict(), file)


def lipsync(folder: Path) -> None:
    """Both towers with random weights, as the lip-sync stage leaves them."""
    from merc.encoders.lipsync import clip_inputs
    from models.lipsync import Synchrony, TowersConfig, save

    torch.manual_seed(0)
    config = TowersConfig(
        height=clip_inputs.HEIGHT, width=clip_inputs.WIDTH, bands=clip_inputs.BANDS, frames_per_picture=4, dim=64
    )
    network = Synchrony(config)
    save(folder / "vision", network, config)
    save(folder / "audio", network.audio, config)


# what stands in for what a card's name loads: the path below data/weights, and who writes it
STAND_INS = {
    "bert-base-uncased": ("bert-base-uncased", partial(language, BertModel, BertConfig)),
    "deberta-v3-base": ("deberta-v3-base", partial(language, DebertaV2Model, DebertaV2Config)),
    "roberta-base": ("roberta-base", partial(language, RobertaModel, RobertaConfig, max_position_embeddings=514)),
    "wav2vec2-base": ("wav2vec2-base", partial(speech, Wav2Vec2Model, Wav2Vec2Config)),
    "wav2vec2-base-960h": ("wav2vec2-base-960h", partial(speech, Wav2Vec2Model, Wav2Vec2Config)),
    "hubert-base-ls960": ("hubert-base-ls960", partial(speech, HubertModel, HubertConfig)),
    "wavlm-base-plus": ("wavlm-base-plus", partial(speech, WavLMModel, WavLMConfig)),
    "vit-base-patch16-224": ("vit-base-patch16-224", partial(sight, ViTModel, ViTConfig)),
    "timesformer-base-finetuned-k400": (
        "timesformer-base-finetuned-k400",
        partial(sight, TimesformerModel, TimesformerConfig, num_frames=4),
    ),
    "resnet50": ("resnet50-11ad3fa6.pth", partial(checkpoint, resnet50)),
    "r3d_18": ("r3d_18-b3b3357e.pth", partial(checkpoint, r3d_18)),
}
