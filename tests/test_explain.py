"""Explanations: exact where they claim to be, blind to what the network ignores, faithful in planted cases."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from explained import SILENT, case_of, write_params, write_student, write_world

from merc.data.batches.dataset import read_split
from merc.data.records import labels
from merc.explanation import counterfactual, explainer, units
from merc.explanation.checks import deletion
from merc.explanation.methods import part_attribution
from merc.runtime import results
from models.network import FUSIONS
from stages import explain

MODALITIES = ("text", "audio", "vision")
CONFIG = explainer.ExplainConfig(utterances=12, random_orders=2, seed=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("explain")
    write_world(place)
    write_params(place)
    return place


@pytest.fixture
def world(folder, monkeypatch):
    """The test split and its units, read as the stage reads them."""
    monkeypatch.chdir(folder)
    split = read_split("test", ["sample"], MODALITIES, labels.label_space("meld"))
    return explainer.Sources(split, units.read("test", ["sample"], split), {})


def student(folder, **changes):
    return write_student(folder, scale=5.0, **changes)


def explained(network, *rest):
    """Every utterance, the network being its own teacher."""
    return explainer.explain(network, network, *rest)


def students(folder, **changes):
    """What the stage reads: the student of both seeds, the teacher of the first."""
    for seed, stage in ((1, "distill"), (2, "distill"), (1, "train")):
        write_student(folder, scale=5.0, seed=seed, stage=stage, **changes)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_changed_row_gets_the_logits_of_a_batch_with_that_row_changed(folder, world, fusion):
    """Repeating the dialogue, caching the stems and changing a row is the same as a batch with that row changed."""
    split = world.split
    network = student(folder, fusion=fusion)
    batch = split.batch(range(split.dialogues))
    probe = counterfactual.Probe(network, batch)
    whole = network(batch)["emotion"]
    assert torch.allclose(probe.logits(probe.rows), whole, atol=1e-5)
    hidden = torch.ones(len(split), 3, dtype=torch.bool)
    hidden[4, 0] = False
    assert torch.allclose(
        probe.logits(torch.tensor([4]), hidden[[4]])[0], network(batch, hidden)["emotion"][4], atol=1e-5
    )
    other = split.batch(range(split.dialogues))
    entry = int((other["rows"]["vision/toy"] == 7).nonzero())
    other["values"]["vision/toy"][entry] += 1.0
    for moved in (
        lambda stream, values, which: values + (stream == "vision/toy"),
        lambda stream, values, which: values + 1 if stream == "vision/toy" else values,
    ):
        logits = probe.changed_logits(torch.tensor([7]), change=moved)
        assert torch.allclose(logits[0], network(other)["emotion"][7], atol=1e-5)


def test_many_queries_are_computed_in_several_passes(folder, world, monkeypatch):
    network, rows = student(folder), torch.arange(12).repeat(3)
    probe = counterfactual.Probe(network, world.split.batch(range(3)))
    at_once = probe.logits(rows)
    monkeypatch.setattr(counterfactual, "MAX_ROWS", 9)
    assert len(list(probe.chunks(rows))) > 10
    assert torch.allclose(probe.logits(rows), at_once, atol=1e-5)


def test_what_the_network_ignores_gets_nothing(folder, world):
    """Vision's part of the fusion is cut: its Shapley value, gradients and occlusion are 0."""
    network = student(folder, fusion="concat", context="none")
    with torch.no_grad():
        network.misls.projections["vision"].weight.zero_()
        network.misls.projections["vision"].bias.zero_()
        network.misls.absent["vision"].zero_()
    found = explained(network, world, CONFIG, [0, 1, 2])
    assert np.abs(found.shapley[:, 2]).max() < 1e-6
    vision = found.parts[found.parts["modality"] == "vision"]
    # float32 rounding of log-odds of about 10
    assert vision[list(explainer.PART_METHODS)].abs().to_numpy().max() < 1e-5
    assert np.abs(found.shapley[:, :2]).max() > 0.01


def test_an_absent_modality_gets_exactly_nothing_and_values_add_up(folder, world):
    found = explained(student(folder), world, CONFIG, [0, 1, 2])
    assert found.shapley[SILENT, 1] == 0
    assert (
        np.abs(found.shapley.sum(1) - (found.coalition_log_odds[:, -1] - found.coalition_log_odds[:, 0])).max()
        < 1e-5
    )
    assert not ((found.parts["row"] == SILENT) & (found.parts["modality"] == "audio")).any()
    assert found.gates.sum(-1) == pytest.approx(1)
    gates = student(folder)(world.split.batch(range(3)))["weights"]["gate"]
    assert found.gates == pytest.approx(gates.detach().numpy(), abs=1e-5)


def test_imported_features_alone_are_explained_as_modalities_and_have_no_parts(folder, world):
    nothing = explainer.Sources(world.split, units.Units({}, {}, {}), {})
    found = explained(student(folder), nothing, CONFIG, [0, 1, 2])
    assert not len(found.parts)
    assert np.isfinite(found.deletion_curves).all()
    assert np.abs(found.shapley).max() > 0.01


def test_integrated_gradients_add_up_to_the_difference_from_blank(folder, world):
    case = case_of(student(folder), world)
    found = part_attribution.integrated_gradients(case)
    gone = torch.ones(len(case.probe), int(case.parts.counts.max()), dtype=torch.bool)
    blank = counterfactual.log_odds(case.emotion_logits_without(case.probe.rows, gone), case.emotion)
    whole = counterfactual.log_odds(case.probe.logits(case.probe.rows), case.emotion)
    assert found.explained == pytest.approx((whole - blank).numpy(), abs=1e-5)
    assert (np.abs(found.gap) <= np.maximum(0.01 * np.abs(found.explained), 1e-3)).mean() > 0.9
    assert np.nansum(found.of_parts(case.parts), 1) == pytest.approx(found.explained - found.gap, abs=1e-4)


def test_integrated_gradients_of_a_linear_way_are_gradient_times_difference(folder, world):
    """With linear stems and a linear fusion there is a closed form: w . (x - blank) of each step."""
    split = world.split
    network = student(folder, stem=dict.fromkeys(MODALITIES, "linear"))

    def fuse(latent, steps, present, deviation, batch):
        logits = torch.zeros(len(batch["place"]), 7)
        logits[:, 0] = sum(z.sum((1, 2)) for z in latent.values())
        return {"emotion": logits, "weights": {}}

    network.misls.project = lambda modality, hidden: hidden
    network.misls.forward, network.fuse = lambda hidden, steps, present: (hidden, steps), fuse
    case = case_of(network, world)
    case.emotion[:] = 0
    found = part_attribution.integrated_gradients(case)
    stem, standard = network.stems["text/toy"].layers[0], network.standards["text/toy"]
    slope = stem.weight.sum(0) / standard.std
    values = split.batch(range(3))["values"]["text/toy"]
    rows = torch.arange(len(split))
    expected = ((values - case.blank("text/toy", values, rows)) @ slope).detach().numpy()
    real = case.parts.owner["text/toy"] >= 0
    assert found.steps["text/toy"][real] == pytest.approx(expected[real], abs=1e-3)


def test_occlusion_is_the_fall_without_one_part(folder, world):
    case = case_of(student(folder), world)
    found = part_attribution.occlusion(case)
    gone = torch.zeros(1, int(case.parts.counts.max()), dtype=torch.bool)
    gone[0, 2] = True
    row = torch.tensor([3])
    after = counterfactual.log_odds(case.emotion_logits_without(row, gone), case.emotion[row])
    before = counterfactual.log_odds(case.probe.logits(row), case.emotion[row])
    assert found[3, 2] == pytest.approx(float(before - after), abs=1e-5)
    assert np.isnan(found[0, case.parts.counts[0] :]).all()


def test_queries_in_one_pass_get_the_logits_of_batches_with_blank_values(folder, world):
    """Also where two queries blank the same parts of a modality, where it is left whole, or is absent."""
    network, rows = student(folder), torch.tensor([3, 3, SILENT, 3, 8])
    case = case_of(network, world)
    table, gone = case.parts.table, torch.zeros(5, int(case.parts.counts.max()), dtype=torch.bool)
    gone[0, [1, 5]] = gone[1, [1, 6]] = gone[2, [0, 2]] = gone[4, 3] = True
    found = case.emotion_logits_without(rows, gone)
    for query, row in enumerate(rows.tolist()):
        other = world.split.batch(range(3))
        for stream, owner in case.owner.items():
            entry = (other["rows"][stream] == row).nonzero()
            if len(entry):
                before = other["values"][stream][int(entry)]
                hit = torch.isin(owner[row], gone[query].nonzero()[:, 0])[: len(before)]
                blank = case.blank(stream, before[None], torch.tensor([row]))[0]
                other["values"][stream][int(entry)] = torch.where(hit[:, None], blank, before)
        assert torch.allclose(found[query], network(other)["emotion"][row], atol=1e-5)
    assert set(table[table["row"] == 3]["modality"]) == set(MODALITIES)
    assert torch.allclose(found[3], network(world.split.batch(range(3)))["emotion"][3], atol=1e-5)


def test_the_best_order_beats_random_and_the_worst_loses(folder, world):
    case = case_of(student(folder), world)
    scores = part_attribution.occlusion(case)
    names = [f"row{row}" for row in range(len(scores))]
    orders = [deletion.random_scores(names, case.parts.counts, order, 1) for order in range(3)]
    best, worst, *random = deletion.area_under_curves(
        deletion.deletion_curves(case, [scores, -scores, *orders])
    ).mean(1)
    assert best < np.mean(random) < worst


def test_dialogues_are_chosen_whole_by_name_and_explained_in_any_grouping(folder, world):
    split = world.split
    few = explainer.choose(split, 5)
    assert sum(map(len, few)) == 2  # two dialogues of four
    assert explainer.choose(split, 1000) == [[0, 1, 2]]
    network = student(folder)
    one = explained(network, world, CONFIG, [0, 1, 2])
    pieces = [explained(network, world, CONFIG, [dialogue]) for dialogue in range(3)]
    other = explainer.join(pieces)
    assert np.allclose(one.coalition_log_odds, other.coalition_log_odds, atol=1e-4)
    assert np.allclose(one.deletion_curves, other.deletion_curves, atol=1e-4)
    pd.testing.assert_frame_equal(one.parts, other.parts, check_dtype=False, atol=1e-2)


def test_the_stage_writes_its_contract_twice_the_same(folder, monkeypatch):
    monkeypatch.chdir(folder)
    students(folder)
    explain.main()
    metrics = results.read_json(explain.METRICS)
    for name in ("modality_hit", "modality_hit_chance", "word_hit", "word_hit_chance"):
        assert metrics[name] is None or 0 <= metrics[name] <= 1
    for method in ("shapley", "gates", *explainer.PART_METHODS):
        for measure in ("deletion", "insertion"):
            assert metrics[f"{method}_{measure}_low"] <= metrics[f"{method}_{measure}"]
        assert -1 <= metrics[f"{method}_randomised_rank"] <= metrics[f"{method}_stability"] <= 1
    assert len(str(metrics).split(":")) <= 90
    assert metrics["shap_gap"] < 1e-4
    assert metrics["shapley_gap"] < 1e-5
    table = pq.read_table(explain.OUT / "attributions.parquet").to_pylist()
    assert len(table) == 12 * 3
    spoken = next(row for row in table if row["utterance"] == "dia0_utt1" and row["modality"] == "text")
    assert [part["word"] for part in spoken["parts"]] == ["", "so", "wonderful", "today"]
    written = [*sorted(explain.PLOTS.iterdir()), *sorted(explain.OUT.rglob("*.*")), explain.METRICS]
    assert {path.suffix for path in written} == {".csv", ".png", ".html", ".parquet", ".json"}
    before = [path.read_bytes() for path in written]
    explain.main()
    assert [path.read_bytes() for path in written] == before


def test_without_truth_or_gates_their_metrics_are_null(folder, tmp_path, monkeypatch):
    from merc.data.records import truth

    monkeypatch.chdir(tmp_path)
    write_world(tmp_path)
    truth.write_truth(tmp_path / "out/extract/test/sample/truth.parquet", [])
    write_params(tmp_path)
    students(tmp_path, fusion="concat")
    explain.main()
    metrics = results.read_json(explain.METRICS)
    assert metrics["modality_hit"] is None
    assert metrics["word_hit_chance"] is None
    assert metrics["gates_deletion"] is None
    assert metrics["shapley_deletion"] is not None
