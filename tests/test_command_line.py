"""python -m merc: one screen of results, comparisons of runs, mistakes in one line."""

import pytest
from test_evaluate import SPACE, made_predictions, manifest

from merc.__main__ import COMMANDS, main
from merc.data.records.selection import Selection
from merc.evaluation import bootstrap, headline, missing_modalities, predictions, robustness
from merc.runtime import results


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A folder with the metrics of made-up predictions."""
    monkeypatch.chdir(tmp_path)
    rows = manifest(40)
    run_predictions = made_predictions(
        rows, skill=3.0, names=missing_modalities.condition_names(("text", "audio", "vision"), [0.5], [], 1)
    )
    draws = bootstrap.draw(run_predictions.groups()[1], run_predictions.num_seeds, 20, 1)
    board = headline.scoreboard(
        run_predictions, SPACE, manifest(40, split="train"), draws, Selection("emotion", "macro_f1")
    )
    results.write_json(tmp_path / "metrics/evaluate.json", board)
    results.write_json(tmp_path / "metrics/robustness.json", robustness.robustness(run_predictions))
    predictions.write_predictions(predictions.PREDICTIONS_FILE, run_predictions)
    return tmp_path


def test_results_fit_one_screen(run, capsys):
    assert main(["results"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 23  # and the prompt
    assert max(map(len, lines)) <= 80
    student = results.read_json(run / "metrics/evaluate.json")["student"]["emotion"]
    assert f"{student['macro_f1']:.3f}" in "".join(lines)


def test_mistakes_on_the_command_line_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["results"]) == 2
    assert capsys.readouterr().err == "merc: metrics/evaluate.json: not there; run `make repro`\n"
    assert main(["compare", "nowhere.parquet"]) == 2
    assert main(["fly"]) == 2
    assert main([]) == 2


def test_compare_tells_runs_apart(run, capsys):
    predictions.write_predictions(run / "other.parquet", made_predictions(manifest(40), skill=0.5))
    assert main(["compare", "other.parquet"]) == 0
    output = capsys.readouterr().out
    assert "our student beats their student" in output
    assert main(["compare", str(predictions.PREDICTIONS_FILE)]) == 0
    assert "our student beats" not in capsys.readouterr().out
    predictions.write_predictions(run / "other.parquet", made_predictions(manifest(30)))
    assert main(["compare", "other.parquet"]) == 2
    assert "different utterances" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_answers_help(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m merc {command}")
