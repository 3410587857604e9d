"""The committed numbers: what was asked for is reached, and the README says what the metrics files say.

Neither is read from the working tree, which may hold what `make repro` made on another processor: tests/indexed.py.
"""

import functools
import re
from pathlib import Path

import pytest
import readme
from indexed import committed
from readme import METRICS, WRITTEN

ROOT = Path(__file__).resolve().parent.parent


measured = functools.partial(readme.measured, read=committed)
optimum = functools.partial(readme.optimum, read=committed)


def test_the_student_closes_most_of_the_gap_to_the_optimum():
    scores = measured("evaluate")
    majority = scores["baseline"]["emotion"]["macro_f1"]
    assert (scores["student"]["emotion"]["macro_f1"] - majority) / (optimum() - majority) >= 0.60


def test_three_modalities_beat_the_best_single_one():
    student = measured("robustness")["student"]["emotion"]
    single = max(student[f"only:{modality}"] for modality in ("text", "audio", "vision"))
    assert student["full"] - single >= 0.03


def test_without_any_one_modality_the_student_still_beats_majority():
    student = measured("robustness")["student"]["emotion"]
    majority = measured("evaluate")["baseline"]["emotion"]["macro_f1"]
    pairs = ("text+audio", "text+vision", "audio+vision")
    assert min(student[f"only:{pair}"] for pair in pairs) - majority >= 0.05


def test_lipsync_finds_the_speaker_where_movement_alone_does_not():
    scores = measured("lipsync")
    assert scores["active_speaker_accuracy"] >= 0.85
    assert scores["active_speaker_accuracy"] - scores["mouth_that_moves_most"] >= 0.15


def readme_rows() -> list[list[str]]:
    lines = committed("README.md").splitlines()
    start = lines.index("<!-- results -->")
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start + 3 :] if "|" in line]


def test_the_readme_repeats_the_metrics_files():
    rows = {row[0]: row[1:] for row in readme_rows() if len(row) == 5}
    scores = measured("evaluate")
    for model, label in readme.MODELS.items():
        if model not in scores:  # metrics of a code that had no floor
            continue
        for task in ("emotion", "sentiment"):
            said = [float(cell) for cell in rows[f"{label}, {task}"]]
            assert said == [pytest.approx(scores[model][task][name], abs=5e-4) for name in METRICS]


@pytest.mark.parametrize(("page", "name"), WRITTEN)
def test_a_page_holds_what_make_readme_writes(page, name):
    assert WRITTEN[page, name](committed) in committed(page), "run `make readme` and add what it writes"


def test_the_model_card_repeats_the_students_test_figures():
    text = committed("docs/model-card.md")
    for task, own in measured("evaluate")["student"].items():
        row = next(line for line in text.splitlines() if line.startswith(f"| {task} |"))
        said = [float(number) for number in re.findall(r"\d\.\d+", row)]
        expected = [own[name + end] for name in METRICS for end in ("", "_low", "_high")]
        assert said == [pytest.approx(one, abs=5e-4) for one in expected]


def test_the_readme_repeats_the_subsets_and_the_interval():
    text = committed("README.md")
    student = measured("robustness")["student"]["emotion"]
    for modality in ("text", "audio", "vision"):
        assert f"{modality} alone {student[f'only:{modality}']:.3f}" in text
    scores = measured("evaluate")["student"]["emotion"]
    assert f"[{scores['macro_f1_low']:.3f}, {scores['macro_f1_high']:.3f}]" in text
    assert f"best possible {optimum():.3f}" in text


def test_the_readme_is_short_and_its_paths_exist():
    lines = committed("README.md").splitlines()
    assert len(lines) < 200
    for path in re.findall(r"\]\(([^)#:]+)\)", "\n".join(lines)):
        assert (ROOT / path).exists(), path


METHODS = ("shapley", "integrated_gradients", "occlusion", "shap")


def test_explanations_point_where_the_truth_is():
    found = measured("explain")
    assert found["utterances_judged"] >= 60
    assert found["modality_hit_judgements"] >= 60
    assert found["word_hit_judgements"] >= 60
    assert found["modality_hit"] >= 0.80 > found["modality_hit_chance"]
    assert found["word_hit"] >= 0.75 > found["word_hit_chance"]
    assert found["shapley_gap"] <= 1e-5
    assert found["shap_gap"] <= 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_every_method_beats_a_random_order_and_depends_on_the_weights(method):
    found = measured("explain")
    assert found[f"{method}_deletion_low"] > 0
    assert found[f"{method}_insertion_low"] > 0
    assert found[f"{method}_randomised_rank"] < 0.3 < found[f"{method}_stability"]
