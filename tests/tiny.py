"""Tiny models with random weights, saved in the form in which the real ones are published."""

import json
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    GenerationConfig,
    HubertConfig,
    HubertModel,
    MPNetConfig,
    MPNetModel,
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
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

LETTERS = [chr(code) for code in range(33, 127)]
SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
WORDS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SPEECH = {
    **{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32},
    **{"conv_dim": [8] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4},
}
WHISPER_SIZES = {"layers": 2, "attention_heads": 2, "ffn_dim": 32}
SIGHT = {**WORDS, "image_size": 32, "patch_size": 16}


def tokenizer(padding: int = 0) -> PreTrainedTokenizerFast:
    """One token per character, pieces after the first marked as BERT marks them; `padding` is the id of [PAD]."""
    first = SPECIAL if padding == 0 else ["[CLS]", "[PAD]", *SPECIAL[2:]]
    pieces = [*first, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    made = Tokenizer(models.WordPiece({piece: index for index, piece in enumerate(pieces)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(piece, pieces.index(piece)) for piece in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, ends)
    named = dict(zip(("pad_token", "cls_token", "sep_token", "unk_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=made, **named)


def _save(model: nn.Module, folder: Path, std: float = 0.2) -> None:
    _draw(model, std)
    model.save_pretrained(folder)


def _draw(model: nn.Module, std: float) -> None:
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std)


def language(kind, config, folder: Path, padding: int = 0, **options) -> None:
    words = tokenizer(padding)
    _save(kind(config(vocab_size=len(words), pad_token_id=padding, **WORDS, **options)), folder)
    words.save_pretrained(folder)


def whisper(folder: Path, std: float = 0.2, generation: dict | None = None, **options) -> None:
    """A whole Whisper, with its decoder; `generation`: more of its generation_config.json."""
    words = tokenizer()
    sizes = {f"{part}_{name}": size for part in ("encoder", "decoder") for name, size in WHISPER_SIZES.items()}
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    config = WhisperConfig(
        vocab_size=len(words), d_model=16, max_target_positions=24, suppress_tokens=[], begin_suppress_tokens=[],
        **{**sizes, **tokens, **options},
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(**tokens, max_length=24, **(generation or {}))
    _save(model, folder, std)
    words.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)


def face_expression(folder: Path) -> None:
    from merc.encoders.vision.face_expression import FaceExpressionNetwork

    network = FaceExpressionNetwork()
    _draw(network, 0.2)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), folder / "model.safetensors")


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
    "mpnet": ("mpnet", partial(language, MPNetModel, MPNetConfig, padding=1, max_position_embeddings=66)),
    "whisper-tiny.en": ("whisper-tiny.en", whisper),
    "whisper-base": ("whisper-base", whisper),
    "whisper-pair": (".", lambda folder: [whisper(folder / name) for name in ("whisper-tiny.en", "whisper-base")]),
    "face-expression": ("face-expression", face_expression),
    "roberta-large": ("roberta-large", partial(language, RobertaModel, RobertaConfig, max_position_embeddings=514)),
    "wav2vec2-large": ("wav2vec2-large", partial(speech, Wav2Vec2Model, Wav2Vec2Config)),
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
