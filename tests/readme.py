"""`make readme`: writes the metrics that lie here into README.md and docs/model-card.md, between two marks a block;
test_results.py compares what is committed of both.
"""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIRST, LAST = "<!-- {} -->", "<!-- end of {} -->"
Read = Callable[[str], str]  # path below the repository -> the file's text
METRICS = ("accuracy", "weighted_f1", "macro_f1", "uar")
MODELS = {"student": "student", "teacher": "teacher", "floor": "logistic regression", "baseline": "commonest label"}


def here(path: str) -> str:
    """A file of the repository as it lies here."""
    return (ROOT / path).read_text(encoding="utf-8")


def measured(name: str, read: Read = here) -> dict:
    """A metrics file."""
    return json.loads(read(f"metrics/{name}.json"))


def optimum(read: Read = here) -> float:
    """The best macro F1 that any model can reach on the sample's test split, from docs/data.md."""
    return float(re.search(r"^\| text \+ audio \+ vision \| ([0-9.]+) \|", read("docs/data.md"), re.M)[1])


def block(read: Read = here) -> str:
    """The table and the two sentences below it."""
    scores, subsets = measured("evaluate", read), measured("robustness", read)["student"]["emotion"]
    own = scores["student"]["emotion"]
    lines = ["| test split of the sample | accuracy | weighted F1 | macro F1 | UAR |", "|---|---|---|---|---|"]
    for task in ("emotion", "sentiment"):
        for model, label in MODELS.items():
            if model not in scores:  # metrics of a code that had no floor
                continue
            cells = [f"{scores[model][task][name]:.3f}" for name in METRICS]
            lines.append(f"| {label}, {task} | {' | '.join(cells)} |")
    alone = ", ".join(f"{name} alone {subsets[f'only:{name}']:.3f}" for name in ("text", "audio", "vision"))
    interval = f"[{own['macro_f1_low']:.3f}, {own['macro_f1_high']:.3f}]"
    words = f"""
Means over 5 seeds; the student's macro F1 for emotion has the 95 % interval {interval} (seeds and dialogues
resampled; best possible {optimum(read):.3f}). With less to go on, the student's macro F1: {alone};
every modality missing half of the time: {subsets["rate:0.5"]:.3f}."""
    return "\n".join([*lines, words])


def card(read: Read = here) -> str:
    """The test figures of docs/model-card.md."""
    board, subsets = measured("evaluate", read), measured("robustness", read)["student"]["emotion"]
    lines = ["| test split | accuracy | weighted F1 | macro F1 | UAR |", "|---|---|---|---|---|"]
    for model, label in {"student": "", "floor": ", logistic regression"}.items():
        for task, own in board.get(model, {}).items():
            cells = [f"{own[name]:.3f} [{own[f'{name}_low']:.3f}, {own[f'{name}_high']:.3f}]" for name in METRICS]
            lines.append(f"| {task}{label} | {' | '.join(cells)} |")
    lines += ["", "| emotion, what is there | macro F1 |", "|---|---|"]
    shown = {"everything": "full", **{f"{name} alone": f"only:{name}" for name in ("text", "audio", "vision")}}
    shown |= {f"each modality missing {share} % of the time": f"rate:0.{share // 10}" for share in (30, 50, 70)}
    return "\n".join([*lines, *(f"| {label} | {subsets[name]:.3f} |" for label, name in shown.items())])


def rows(study: str, read: Read = here) -> dict[str, dict]:
    """The student's emotion scores on test, by row of docs/results/<study>.json."""
    results = json.loads(read(f"docs/results/{study}.json"))["rows"]
    return {row["name"]: row["test"]["student"]["emotion"] for row in results}


def published(corpus: str, measure: str, read: Read = here) -> dict[str, str]:
    """Published emotion scores on the test split, by system, as the leaderboard has them."""
    table = csv.DictReader(read("merc/studies/scoring/published.csv").splitlines())
    return {
        row["system"]: f"{float(row['value']):.3f}"
        for row in table
        if (row["corpus"], row["task"], row["measure"]) == (corpus, "emotion", measure)
    }


def real(read: Read = here) -> str:
    """Results on real data beside published ones: MELD with its interval, RAVDESS with its folds' range."""
    meld = rows("meld-student", read)["adapted MiniLM + prosody"]["weighted_f1"]
    others = published("meld", "weighted_f1", read)
    beside = ", ".join(f"{system} {others[system]}" for system in ("DAG-ERC", "EmoBERTa", "always neutral"))
    lines = [
        "| test split | measure | merc | published |",
        "|---|---|---|---|",
        "| MELD, words and 8 numbers of prosody (no video), MiniLM tuned, 5 seeds | weighted F1 | "
        f"{meld['mean']:.3f} [{meld['low']:.3f}, {meld['high']:.3f}] | {beside} |",
    ]
    names = {"ravdess-whisper": "two frozen Whisper encoders", "ravdess": "from random weights, nothing downloaded"}
    shown = {"ravdess-whisper": ("Whisper-large-v3", "WavLM-large"), "ravdess": ("HuBERT-base", "wav2vec2-base")}
    others = published("ravdess", "uar", read)
    for study, name in names.items():
        folds = [row["uar"]["mean"] for row in rows(study, read).values()]
        mean = sum(folds) / len(folds)
        beside = ", ".join(f"{system} {others[f'{system} (EmoBox)']}" for system in shown[study])
        lines.append(
            f"| RAVDESS speech, 6 folds of unseen actors, {name}, 3 seeds | UAR | {mean:.3f} "
            f"(folds {min(folds):.3f} to {max(folds):.3f}) | {beside} |"
        )
    return "\n".join(lines)


# page and name of its block -> what stands there
WRITTEN = {
    ("README.md", "results"): block,
    ("README.md", "real data"): real,
    ("docs/model-card.md", "results"): card,
}


def main() -> None:
    for (page, name), content in WRITTEN.items():
        path, first, last = ROOT / page, FIRST.format(name), LAST.format(name)
        text = path.read_text(encoding="utf-8")
        before, after = text.index(first) + len(first), text.index(last)
        path.write_text(f"{text[:before]}\n{content()}\n{text[after:]}", encoding="utf-8")


if __name__ == "__main__":
    main()
