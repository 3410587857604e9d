"""Studies whose rows vary how many labels are learnt from: what pretraining saves."""

from merc.study_table import gain, number, table

LABEL_SHARE = "data.label_fraction"


def varies_labels(study: dict) -> bool:
    """Whether a study is about the share of labels; it is drawn as a curve then."""
    return bool(study["rows"]) and all(LABEL_SHARE in row["flags"] for row in study["rows"])


def pretrained(row: dict) -> bool:
    """Whether the row's network was."""
    return row["flags"].get("pretrain.epochs") != 0


def saved(rows: list[dict]) -> list[str]:
    """Pretrained and not, by share of labels: dev macro F1, and the paired difference over the seeds."""
    teachers = {(row["flags"][LABEL_SHARE], pretrained(row)): row["dev"]["teacher"] for row in rows}
    shares = [share for share, with_it in teachers if with_it and (share, False) in teachers]
    cells = [[f"{share:.0%}", *_pair(teachers[share, True], teachers[share, False])] for share in shares]
    return table(("labels", "pretrained", "not", "difference [95 %]"), cells)


def _pair(own: dict, plain: dict) -> list[str]:
    scores = [number(one["emotion"]["macro_f1"]) for one in (own, plain)]
    return [*scores, gain(own["by_seed"], plain["by_seed"])]
