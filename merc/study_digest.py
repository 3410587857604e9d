"""What several studies say together: tables across the files of docs/results."""

from collections.abc import Iterable

from merc.study_table import interval, number, table

# corpus -> the study that is about it, and its row for each line of the usual table of four
FOUR_LINES = {
    "sample": (
        "subsets",
        {
            "text only": "text",
            "audio and text": "text and audio",
            "late fusion": "late fusion",
            "proposed": "text, audio and vision",
        },
    ),
    "MELD": (
        "meld",
        {
            "text only": "text alone",
            "audio and text": "text + prosody",
            "late fusion": "concat",
            "proposed": "pretrained",
        },
    ),
}
PROPOSED = (
    "Test split, teacher, mean of the seeds. Proposed: ESAG and the GRU with all that the corpus has; on the "
    "sample words, sound and pictures, not pretrained; on MELD words and prosody, pretrained (no video is here)."
)
BESIDE = (
    "Macro F1 of emotions on test, mean of the seeds: the sample's student shown a part of the modalities alone, "
    "and networks that learnt from that part alone."
)


def digest(studies: Iterable[dict]) -> list[str]:
    """Lines of the page; a table whose studies have not been run is left out."""
    rows = {study["study"]: {row["name"]: row for row in study["rows"]} for study in studies}
    return [*_four_lines(rows), *_student_beside(rows)]


def _four_lines(rows: dict[str, dict[str, dict]]) -> list[str]:
    cells = [
        [corpus, line, *_scores(rows[study][row]["test"]["teacher"]["emotion"])]
        for corpus, (study, lines) in FOUR_LINES.items()
        for line, row in lines.items()
        if row in rows.get(study, {})
    ]
    head = ("corpus", "line", "accuracy", "weighted F1 [95 %]", "UAR")
    return ["## In four lines", "", PROPOSED, "", *table(head, cells), ""] if cells else []


def _scores(emotion: dict[str, dict]) -> list[str]:
    return [number(emotion["accuracy"]["mean"]), interval(emotion["weighted_f1"]), number(emotion["uar"]["mean"])]


def _student_beside(rows: dict[str, dict[str, dict]]) -> list[str]:
    if not {"student", "subsets"} <= rows.keys():
        return []
    (student,) = (row["test"]["student"]["emotion_macro_f1_of"] for row in rows["student"].values())
    own = {_part(row): row["test"]["teacher"]["emotion"]["macro_f1"]["mean"] for row in rows["subsets"].values()}
    cells = [
        [part.replace("+", " and "), number(shown), number(own[part]), f"{shown - own[part]:+.3f}"]
        for part, shown in ((name.removeprefix("only:"), value) for name, value in student.items())
        if part in own
    ]
    head = ("part", "student, shown it", "network of its own", "difference")
    return ["## The student on a part of its modalities", "", BESIDE, "", *table(head, cells), ""]


def _part(row: dict) -> str:
    return "+".join(row["flags"].get("model.modalities", ()))
