"""The objectives of pretraining: what they are, what they teach, and what they must not see."""

import itertools
from typing import Any

import networks
import pytest
import torch
from torch.nn import functional

from merc.studies.definitions import STUDIES
from merc.training.pretrain import alignment_loss, objectives
from merc.training.pretrain.glimpses import GLIMPSES
from merc.training.pretrain.objectives import (
    HEADS,
    NEEDED,
    OBJECTIVES,
    PretrainedNetwork,
    PretrainWeights,
    SelfSupervisedObjective,
)

DIALOGUES = (6, 5, 1, 7, 6)
every_objective = pytest.mark.parametrize("name", OBJECTIVES)
every_glimpse = pytest.mark.parametrize("name", GLIMPSES)


def test_every_objective_but_order_is_a_row_of_the_study():
    chosen = [
        [name for name in OBJECTIVES if row.flags.get(f"pretrain.weights.{name}")]
        for row in STUDIES["objectives"].rows
        if "pretrain.weights.align" in row.flags
    ]
    assert sorted(chosen) == sorted([name] for name in OBJECTIVES if name != "order")


def weights(**given: float) -> PretrainWeights:
    return PretrainWeights(**{name: given.get(name, 0.0) for name in OBJECTIVES})


def trained(name: str, **changes) -> PretrainedNetwork:
    built = networks.network(**changes)
    return PretrainedNetwork(built, weights(**{name: 1.0}), built.config.fused, built.config.dim)


def objective(name: str, seed: int = 1) -> SelfSupervisedObjective:
    return SelfSupervisedObjective(weights(**{name: 1.0}), torch.Generator().manual_seed(seed))


def loss_of(name: str, made: PretrainedNetwork, batch: dict, seed: int = 1) -> torch.Tensor:
    return objective(name, seed)(made, batch)[name]


def test_the_registries_and_the_parameters_name_the_same():
    assert list(OBJECTIVES) == list(PretrainWeights.model_fields)
    assert set(HEADS) == set(NEEDED) | {"features"} and set(HEADS) < set(OBJECTIVES)
    assert set(NEEDED.values()) == set(GLIMPSES)
    assert not list(trained("align").heads.parameters())  # what is off adds nothing to what is trained


@every_objective
def test_an_objective_is_learnt(name):
    batch, made = networks.batch(DIALOGUES), trained(name, dropout=0.0)
    torch.nn.init.normal_(made.network.misls.order, std=0.1)
    learnt = objective(name)
    optimiser = torch.optim.Adam(made.parameters(), 0.01)
    made.train()
    losses = []
    for _ in range(12):
        learnt.generator.manual_seed(1)  # the same glimpse each time: what is measured is the fit
        optimiser.zero_grad()
        terms = learnt(made, batch)
        terms[name].backward()
        losses.append(terms[name].item())
        optimiser.step()
    assert losses[-1] < 0.9 * losses[0]


@every_objective
def test_the_gradient_reaches_the_stems_and_with_a_glimpse_the_context_and_the_head(name):
    batch, made = networks.batch(DIALOGUES), trained(name)
    torch.nn.init.normal_(made.network.misls.order, std=0.1)
    made.train()
    loss_of(name, made, batch).backward()
    reached = {key.split(".")[1] if key.startswith("network") else "head" for key, one in made.named_parameters()
               if one.grad is not None and one.grad.any()}  # fmt: skip
    assert "stems" in reached
    assert ({"fusion", "context"} <= reached) == (name in NEEDED) and ("head" in reached) == (name in HEADS)


@every_objective
def test_padding_and_a_batch_of_nothing_change_nothing(name):
    made = trained(name)
    torch.nn.init.normal_(made.network.misls.order, std=0.1)
    plain, padded = (loss_of(name, made, networks.batch(DIALOGUES, extra=extra)) for extra in (0, 9))
    torch.testing.assert_close(plain, padded, rtol=1e-4, atol=1e-5)
    alone = networks.only(networks.batch(DIALOGUES), 2)  # one utterance: nothing follows, nothing to tell it from
    alone["present"] = torch.zeros_like(alone["present"])
    alone |= {"values": {}, "rows": {}, "steps": {}}
    made.train()
    assert loss_of(name, made, alone) == 0


@every_glimpse
def test_a_glimpse_hides_what_it_asks(name):
    batch = networks.batch(DIALOGUES)
    for seed in range(5):
        glimpse = GLIMPSES[name](batch, torch.Generator().manual_seed(seed))
        assert not (glimpse.present & glimpse.target).any() and not (glimpse.present & ~batch["present"]).any()
        assert not (glimpse.target & ~batch["present"]).any() and glimpse.target.any()


def test_masked_hides_whole_utterances_and_hidden_modalities_never_all():
    batch = networks.batch(DIALOGUES * 20)
    masked, hidden = (
        GLIMPSES[name](batch, torch.Generator().manual_seed(1)) for name in ("masked", "hidden_modalities")
    )
    assert not (masked.target.any(1) & masked.present.any(1)).any()
    there = batch["present"].any(1)
    assert masked.target.any(1)[there].float().mean().item() == pytest.approx(0.3, abs=0.05)
    assert (hidden.present.any(1) == batch["present"].any(1)).all()
    several = batch["present"].sum(1) > 1
    assert hidden.target[several].any(1).float().mean() > 0.5 and not hidden.target[~several].any()


def test_upcoming_asks_one_turn_a_dialogue_and_tells_nothing_of_what_comes():
    batch = networks.batch(DIALOGUES * 20)
    glimpse = GLIMPSES["upcoming"](batch, torch.Generator().manual_seed(1))
    owner = batch["place"][:, 0]
    turns = set()
    for dialogue in range(len(DIALOGUES) * 20):
        rows = (owner == dialogue).nonzero()[:, 0]
        targets = glimpse.target[rows].any(1).nonzero()[:, 0].tolist()
        assert len(targets) <= 1 and (len(rows) > 1 or not targets)
        for turn in targets:
            turns.add(turn)
            past, rest = rows[:turn], rows[turn:]
            assert turn > 0 and torch.equal(glimpse.present[past], batch["present"][past])
            assert not glimpse.present[rest].any() and (glimpse.speaker[rest] == batch["speaker"][past[-1]]).all()
            assert torch.equal(glimpse.speaker[past], batch["speaker"][past])
    assert turns == set(range(1, 7))


@pytest.mark.parametrize("name", NEEDED)
def test_what_is_asked_does_not_leak_into_the_answer(name):
    """Other features in what a glimpse hides: the context vectors that answer stay as they are."""
    batch, made = networks.batch(DIALOGUES), trained(name)
    other = networks.batch(DIALOGUES) | {"values": {}}
    glimpse = NEEDED[name]
    seen = GLIMPSES[glimpse](batch, torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(2)
    for stream, values in batch["values"].items():
        column = networks.MODALITIES.index(stream.split("/")[0])
        hidden = ~seen.present[batch["rows"][stream], column]
        noise = torch.randn(values.shape, generator=generator)
        other["values"][stream] = torch.where(hidden.view(-1, 1, 1), noise, values)
    own, changed = (objective(name).view(made, one, torch.Generator().manual_seed(1)) for one in (batch, other))
    assert any(not torch.equal(own.latent[m], changed.latent[m]) for m in networks.MODALITIES)
    # ESAG knows how far features are from the mean also of what is hidden, and gives it no weight
    torch.testing.assert_close(own.context[glimpse], changed.context[glimpse])


def test_who_speaks_next_does_not_leak_into_the_answer():
    batch, made = networks.batch(DIALOGUES), trained("speaker")
    cut = GLIMPSES["upcoming"](batch, torch.Generator().manual_seed(1))
    later = ~cut.present.any(1) & (cut.speaker != batch["speaker"])
    other = batch | {"speaker": torch.where(later, batch["speaker"] + 1, batch["speaker"])}
    one, two = (objective("speaker").view(made, b, torch.Generator().manual_seed(1)) for b in (batch, other))
    assert later.any() and torch.equal(one.context["upcoming"], two.context["upcoming"])


def test_hard_negatives_are_those_that_may_be_confused():
    torch.manual_seed(1)
    latent = {m: torch.randn(6, 8) for m in ("text", "audio")}
    present, pair = torch.ones(6, 2, dtype=torch.bool), ("text", "audio")
    present[5, 0] = False
    group = torch.tensor([0, 0, 1, 0, 2, 2])  # row 4 has nothing but itself: row 5 has no text
    may_confuse = (group.unsqueeze(1) == group) & ~torch.eye(6, dtype=torch.bool)
    expected = []
    for here, there in itertools.permutations(pair):
        for row in (0, 1, 3):
            logits = [
                10 * functional.cosine_similarity(latent[here][row], latent[there][other], 0) for other in (0, 1, 3)
            ]
            expected.append(-torch.stack(logits).log_softmax(0)[(0, 1, 3).index(row)])
    loss = alignment_loss.hard_contrastive_loss(latent, present, pair, may_confuse)
    torch.testing.assert_close(loss, 2 * torch.stack(expected).view(2, 3).mean(1).sum() / 2)
    assert alignment_loss.hard_contrastive_loss(latent, present, pair, torch.zeros(6, 6, dtype=torch.bool)) == 0


def test_vicreg_is_its_formula():
    torch.manual_seed(1)
    latent, pair = {m: 0.3 * torch.randn(40, 5) for m in ("text", "audio")}, ("text", "audio")
    present = torch.rand(40, 2) > 0.2
    both = present.all(1)
    one, two = (latent[m][both].numpy() for m in pair)
    expected = ((one - two) ** 2).mean()
    for vectors in (one, two):
        centred = vectors - vectors.mean(0)
        covariance = centred.T @ centred / (len(vectors) - 1)
        expected += (1 - (covariance.diagonal() + 1e-4) ** 0.5).clip(0).mean()
        expected += ((covariance**2).sum() - (covariance.diagonal() ** 2).sum()) / 5 / 25
    assert float(alignment_loss.vicreg_loss(latent, present, pair)) == pytest.approx(expected, rel=1e-4)


def test_the_moving_average_follows_and_gives_no_gradient():
    batch, made = networks.batch(DIALOGUES), trained("regression")
    learnt = objective("regression")
    learnt(made, batch)
    assert learnt.teacher is not None
    before = made.network.misls.projections["text"].weight.detach().clone()
    with torch.no_grad():
        made.network.misls.projections["text"].weight.add_(1.0)
    learnt(made, batch)
    average: Any = learnt.teacher.module
    moved = average.misls.projections["text"].weight - before
    assert 0 < float(moved.mean()) < 1
    view = learnt.view(made, batch, torch.Generator().manual_seed(1))
    assert view.teacher.shape == view.context["masked"].shape and not view.teacher.requires_grad


def test_a_summary_is_the_mean_and_the_spread_of_the_standardised_steps():
    batch, made = networks.batch(DIALOGUES), trained("features")
    summaries = objectives.summarise(made.network, batch)
    for stream, (values, present) in summaries.items():
        assert torch.equal(present.nonzero()[:, 0], batch["rows"][stream])
        for row, steps, features in zip(
            batch["rows"][stream], batch["steps"][stream], batch["values"][stream], strict=True
        ):
            own = {**batch, "values": {stream: features[:steps][None]}, "rows": {stream: row[None]}}
            own = made.network.standardised(stream, own)[0]
            spread = (own.var(0, correction=0) + objectives.VARIANCE_FLOOR).sqrt()
            torch.testing.assert_close(values[row], torch.cat([own.mean(0), spread]))
        assert not values[~present].any()


def test_the_views_of_batches_join_to_that_of_all():
    made, learnt = trained("align"), objective("align")
    batches = [networks.batch((4, 1, 3), seed=seed) for seed in (1, 2)]
    batches[1]["index"] = batches[1]["index"] + 8
    views = [learnt.view(made, batch, torch.Generator()) for batch in batches]
    view = objectives.joined(views)
    assert (
        view.row.tolist() == list(range(16))
        and view.first.tolist() == [0] * 4 + [4] + [5] * 3 + [8] * 4 + [12] + [13] * 3
    )
    assert view.following.tolist() == [a == b for a, b in itertools.pairwise(view.first.tolist())]
    assert torch.equal(view.latent["audio"], torch.cat([one.latent["audio"] for one in views]))
