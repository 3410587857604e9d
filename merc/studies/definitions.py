"""Definitions of the studies: sets of training runs compared in one table. `python -m merc results NAME` runs one.

A row is the study's preset with the values of its flags, run from the data up to the stage `until`: a row that ends
at `distill` reads only the dev split; one that ends at `evaluate` scores the test split, once. For rows named
`<name> / <part>` (cross-validation folds, for example) the table also has their mean.
"""

from itertools import combinations
from typing import Any, Literal, NamedTuple


class StudyRow(NamedTuple):
    """A run of the pipeline."""

    name: str
    flags: dict[str, Any] = {}  # noqa: RUF012 (never mutated): dotted key of params.yaml -> value
    about: str = ""


class Study(NamedTuple):
    """A set of runs to compare."""

    title: str
    preset: str
    until: Literal["pretrain", "train", "distill", "evaluate"]
    rows: tuple[StudyRow, ...]
    flags: dict[str, Any] = {}  # noqa: RUF012 (never mutated): of every row; a row's flags take precedence
    models: tuple[str, ...] = ("teacher", "student")  # that the tables show
    against: dict[str, str] = {}  # noqa: RUF012 (never mutated): corpus -> reference row of its comparisons
    published: tuple[str, ...] = ()  # figures from the literature, a line each, with their source


# evaluate: headline scores and modality subsets only, without missing rates or corruptions
SCORES_ONLY = {"evaluate.rates": [], "evaluate.repeats": 1, "evaluate.uneven": [], "evaluate.corruptions": []}
# the teacher's study: evaluate needs a student too, so one is trained for an epoch and not reported
TEACHER_ONLY = {"distill.epochs": 1, "distill.phase_epochs": 1}
ADAPTED_DESCRIPTION = (
    "adapt with one seed: two epochs of three of six layers, one earlier line and the names read along"
)
MINILM_ADAPTED = {
    "adapt.text.epochs": 2,
    "adapt.text.freeze_epochs": 0,
    "adapt.text.unfreeze_layers": 3,
    "adapt.text.lr": 0.0001,
    "adapt.text.layer_decay": 0.85,
    "adapt.text.batch": 16,
    "encode.text.before": 1,
    "encode.text.speakers": True,
}
MPNET_ADAPTED_DESCRIPTION = (
    "adapt with one seed: three epochs of four of twelve layers; a line before, one after and the names read along"
)
MPNET_ADAPTED = {
    "encode.text.encoder": "mpnet",
    "encode.text.before": 1,
    "encode.text.after": 1,
    "encode.text.speakers": True,
    "adapt.text.epochs": 3,
    "adapt.text.freeze_epochs": 0,
    "adapt.text.unfreeze_layers": 4,
    "adapt.text.lr": 0.0001,
    "adapt.text.layer_decay": 0.85,
    "adapt.text.batch": 16,
}

PRETRAINED_SUFFIX = ", pretrained"  # how the name of such a row ends


def label_fraction_rows(pretrained: dict[str, Any], otherwise: dict[str, Any]) -> tuple[StudyRow, ...]:
    """Two rows for every fraction of the labels, with and without pretraining."""
    return tuple(
        StudyRow(f"{fraction:.0%} of the labels{suffix}", {"data.label_fraction": fraction} | flags)
        for fraction in (0.05, 0.1, 0.25, 0.5, 1.0)
        for suffix, flags in ((PRETRAINED_SUFFIX, pretrained), ("", otherwise))
    )


# epochs of the objectives of pretraining, where a study asks for them
PRETRAINED = {"pretrain.epochs": 6}

# objective of pretraining -> what it predicts
SELF_SUPERVISION = {
    "align": "the same utterance in another modality, among the batch",
    "hard": "the same, among what the same speaker says in the same dialogue",
    "vicreg": "the same, with variance and covariance in place of negatives",
    "reconstruct": "a modality's latent vector from the utterance's others",
    "hidden_modalities": "the latent vectors of hidden modalities from all that is left of the dialogue",
    "masked": "the latent vectors of masked utterances from their neighbours",
    "regression": "a moving average's context vectors of masked utterances",
    "upcoming": "the next utterance from those before it",
    "speaker": "whether the speaker goes on",
    "features": "an utterance's own features, as an autoencoder",
}
NO_OBJECTIVE = dict.fromkeys((f"pretrain.weights.{name}" for name in SELF_SUPERVISION), 0.0)

STUDIES: dict[str, Study] = {
    "corpora": Study(
        title=(
            "Does training on several corpora help? Rows: what is trained on; columns: what is tested on. "
            "One network, one label space; every corpus brings the modalities that it has"
        ),
        preset="joint",
        until="evaluate",
        flags=SCORES_ONLY | TEACHER_ONLY,
        models=("teacher",),
        rows=tuple(
            StudyRow(
                name, {f"data.share.{corpus}": float(corpus in chosen) for corpus in ("sample", "meld", "ravdess")}
            )
            for name, chosen in {
                "sample": {"sample"},
                "MELD": {"meld"},
                "RAVDESS": {"ravdess"},
                "MELD + RAVDESS": {"meld", "ravdess"},
                "all three": {"sample", "meld", "ravdess"},
            }.items()
        ),
        against={"sample": "sample", "meld": "MELD", "ravdess": "RAVDESS"},
    ),
    "distill": Study(
        title="Does the teacher help? The student on the sample's dev split, with what it learns from left out",
        preset="sample",
        until="distill",
        rows=(
            StudyRow("both phases"),
            StudyRow(
                "no teacher",
                {"distill.weights.soft": 0.0, "distill.weights.feature": 0.0, "distill.weights.relation": 0.0},
                "the same network, phases and modality dropout; labels alone",
            ),
            StudyRow("phase 1 only", {"distill.phase_epochs": 24}, "all modalities throughout"),
            StudyRow("phase 2 only", {"distill.phase_epochs": 0}, "random subsets from the first epoch"),
        ),
    ),
    "labels": Study(
        title=(
            "How many labels does pretraining save? The sample's teacher on dev, by the share of the train "
            "dialogues whose labels it learns from; pretrained: less what is usual of the speaker"
        ),
        preset="sample",
        until="train",
        rows=label_fraction_rows({"pretrain.speakers": True}, {}),
        models=("teacher",),
    ),
    "objectives": Study(
        title=(
            "Which self-supervision saves labels? The sample's teacher on dev with the labels of a tenth of the "
            "train dialogues, by the only objective of pretraining (docs/pretraining.md)"
        ),
        preset="sample",
        until="train",
        flags={"data.label_fraction": 0.1},
        rows=(
            StudyRow("not pretrained"),
            StudyRow("speakers", {"pretrain.speakers": True}, "what is usual of a speaker; no epochs"),
            StudyRow("align and reconstruct", PRETRAINED),
            *(
                StudyRow(
                    name.replace("_", " "), PRETRAINED | NO_OBJECTIVE | {f"pretrain.weights.{name}": 1.0}, about
                )
                for name, about in SELF_SUPERVISION.items()
            ),
        ),
        models=("teacher",),
    ),
    "answers": Study(
        title=(
            "Which answers without a label should a student learn? The sample's teacher and student on dev with "
            "the labels of a tenth of the train dialogues"
        ),
        preset="sample",
        until="distill",
        flags={"data.label_fraction": 0.1},
        rows=(
            StudyRow("all"),
            StudyRow("sure", {"distill.unlabelled": "sure"}, "where the teacher's label set has one label"),
            StudyRow("none", {"distill.unlabelled": "none"}),
        ),
    ),
    "subsets": Study(
        title="The sample with a part of its modalities: a teacher of its own for each, none of them pretrained",
        preset="sample",
        until="evaluate",
        flags=SCORES_ONLY | TEACHER_ONLY,
        models=("teacher",),
        rows=(
            StudyRow("text, audio and vision"),
            StudyRow("late fusion", {"model.fusion": "concat"}, "all three, each on its own until the end"),
            *(
                StudyRow(" and ".join(modalities), {"model.modalities": list(modalities)})
                for size in (1, 2)
                for modalities in combinations(("text", "audio", "vision"), size)
            ),
        ),
        against={"sample": "text, audio and vision"},
    ),
    "student": Study(
        title="The sample's student with a part of its modalities: beside `subsets`, networks of that part alone",
        preset="sample",
        until="evaluate",
        flags=SCORES_ONLY,
        rows=(StudyRow("teacher and student"),),
    ),
    "sample-pretrained": Study(
        title="The sample heard and seen by networks that real voices and faces taught; beside `student`",
        preset="sample",
        until="evaluate",
        flags=SCORES_ONLY
        | {
            "train.seeds": [1, 2, 3],
            "encode.audio.encoder": "whisper-tiny.en",
            "encode.audio.layer": 2,
            "encode.vision.encoder": "face-expression",
        },
        rows=(StudyRow("whisper-tiny.en and face-expression", {}, "voices, and faces, by frozen networks"),),
    ),
    "misls-esag": Study(
        title=(
            "The preset misls-esag on the sample, its encoders replaced by weights that install; one seed. "
            "Whole-network finetuning freezes the encoders for two of six epochs"
        ),
        preset="misls-esag",
        until="evaluate",
        flags=SCORES_ONLY
        | {
            "numerics": "fast",
            "train.seeds": [1],
            "encode.text.encoder": "minilm",
            "encode.audio.encoder": "whisper-tiny.en",
            "encode.audio.layer": 2,
            "encode.vision.encoder": "face-expression",
        },
        rows=(
            StudyRow("encoders frozen, then learning", {}, "finetune: six epochs, the first two frozen"),
            StudyRow("encoders frozen", {"finetune.epochs": 0}),
        ),
    ),
    "ravdess": Study(
        title="RAVDESS speech, 8 classes, EmoBox's six speaker-disjoint folds, sound alone, no downloaded weights",
        preset="ravdess",
        until="evaluate",
        rows=tuple(StudyRow(f"RAVDESS / fold {fold}", {"data.ravdess.fold": fold}) for fold in range(1, 7)),
        flags=SCORES_ONLY,
        published=(
            "UAR on the same folds with downloaded models, EmoBox (Ma et al. 2024): wav2vec2-base 0.543, "
            "HuBERT-base 0.654, WavLM-large 0.720, Whisper-large-v3 0.753",
            "nothing downloaded, measured before this pipeline was there: mean and spread of log-mel with logistic "
            "regression 0.370; a plain log-mel network, 45 epochs, folds 1 and 3 alone, 0.613 and 0.555",
        ),
    ),
    "ravdess-whisper": Study(
        title=(
            "RAVDESS speech as in `ravdess`, by the middle layers of two frozen Whispers (weights get whisper-pair)"
        ),
        preset="ravdess",
        until="evaluate",
        rows=tuple(StudyRow(f"RAVDESS / fold {fold}", {"data.ravdess.fold": fold}) for fold in range(1, 7)),
        flags=SCORES_ONLY
        | {
            "numerics": "fast",
            "adapt.audio.epochs": 0,
            "encode.audio.encoder": "whisper-pair",
            "encode.audio.frame_rate": 1.0,
            "model.dim": 192,
            "model.fused": 192,
            "train.epochs": 30,
            "train.patience": 8,
            "train.lr": 0.001,
            "distill.epochs": 20,
            "distill.phase_epochs": 20,
            "distill.patience": 8,
        },
        published=(
            "UAR on the same folds, EmoBox (Ma et al. 2024): WavLM-large 0.720, Whisper-large-v3 0.753",
            "a linear probe of both Whispers together, layers chosen on test, before this study: 0.756",
        ),
    ),
    "meld": Study(
        title=(
            "MELD from its annotations: MiniLM over the words, and 8 published numbers of prosody a clip; "
            "the teacher, not pretrained"
        ),
        preset="meld-features",
        until="evaluate",
        flags=SCORES_ONLY | TEACHER_ONLY,
        models=("teacher",),
        rows=(
            StudyRow("text + prosody"),
            StudyRow("text + prosody, class-balanced", {"train.class_weight_power": 0.75}),
            StudyRow("text alone", {"model.modalities": ["text"]}),
            StudyRow("prosody alone", {"model.modalities": ["audio"]}),
            StudyRow("concat", {"model.fusion": "concat"}, "late fusion"),
            StudyRow("pretrained", {"pretrain.epochs": 4}),
            StudyRow("adapted MiniLM alone", MINILM_ADAPTED | {"model.modalities": ["text"]}, ADAPTED_DESCRIPTION),
            StudyRow("adapted MiniLM + prosody", MINILM_ADAPTED, ADAPTED_DESCRIPTION),
            StudyRow("crossmodal", {"model.fusion": "crossmodal"}),
            StudyRow("graph", {"model.fusion": "graph"}),
            StudyRow("multiattn", {"model.fusion": "multiattn"}),
        ),
    ),
    "meld-student": Study(
        title="MELD from its annotations, as in `meld`: a pretrained teacher and its student",
        preset="meld-features",
        until="evaluate",
        flags=SCORES_ONLY | PRETRAINED,
        rows=(
            StudyRow("teacher and student"),
            StudyRow("class-balanced", {"train.class_weight_power": 0.75, "distill.class_weight_power": 0.75}),
            StudyRow("adapted MiniLM alone", MINILM_ADAPTED | {"model.modalities": ["text"]}, ADAPTED_DESCRIPTION),
            StudyRow("adapted MiniLM + prosody", MINILM_ADAPTED, ADAPTED_DESCRIPTION),
        ),
    ),
    "meld-mpnet": Study(
        title=("MELD from its annotations, as in `meld-student`, with adapted mpnet for the words; three seeds"),
        preset="meld-features",
        until="evaluate",
        flags=SCORES_ONLY | PRETRAINED | {"numerics": "fast", "train.seeds": [1, 2, 3]},
        rows=(StudyRow("adapted mpnet + prosody", MPNET_ADAPTED, MPNET_ADAPTED_DESCRIPTION),),
        published=("weighted F1 of the emotions: DAG-ERC with RoBERTa-large 0.634 (UAR 0.487), EmoBERTa 0.656",),
    ),
    "meld-few-labels": Study(
        title="MELD with few labels: is the network as good as a logistic regression on the same features",
        preset="meld-features",
        until="evaluate",
        flags=SCORES_ONLY | {"train.seeds": [1, 2, 3], "data.label_fraction": 0.05},
        rows=(
            StudyRow("as with all labels", {}, "the teacher learns for 8 epochs of 4 batches"),
            StudyRow("more, smaller batches", {"train.epochs": 40, "train.batch": 4}, "chosen on dev"),
        ),
    ),
    "meld-labels": Study(
        title=(
            "How many labels does pretraining save on MELD? Its teacher on dev, by the share of the train "
            "dialogues whose labels it learns from; pretrained: less what is usual of the speaker"
        ),
        preset="meld-features",
        until="train",
        rows=label_fraction_rows({"pretrain.speakers": True}, {}),
        models=("teacher",),
    ),
    "ravdess-labels": Study(
        title=(
            "How many labels does pretraining save on RAVDESS? Its teacher on fold 1's dev actors, by the share of "
            "the train recordings whose labels it learns from; Whisper base, frozen; pretrained: less what is "
            "usual of the speaker"
        ),
        preset="ravdess",
        until="train",
        flags={
            "numerics": "fast",
            "adapt.audio.epochs": 0,
            "encode.audio.encoder": "whisper-base",
            "encode.audio.layer": 3,
            "encode.audio.frame_rate": 1.0,
            "model.dim": 192,
            "model.fused": 192,
            "train.seeds": [1, 2, 3, 4, 5],
            "train.epochs": 30,
            "train.patience": 8,
            "train.lr": 0.001,
        },
        rows=label_fraction_rows({"pretrain.speakers": True}, {}),
        models=("teacher",),
    ),
}
