"""Tables of docs/results.md that combine rows of several studies."""

from collections.abc import Iterable

from merc.studies.cells import format_interval, format_number, markdown_table

# corpus -> its study, and the study's row for each line of the table that papers usually print
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
FOUR_LINES_CAPTION = (
    "Test split, teacher, mean of the seeds. Proposed: ESAG and the GRU with all that the corpus has; on the "
    "sample words, sound and pictures, not pretrained; on MELD words and prosody, pretrained (no video is here)."
)
STUDENT_CAPTION = (
    "Macro F1 of emotions on test, mean of the seeds: the sample's student shown a part of the modalities alone, "
    "and networks that learnt from that part alone."
)


def cross_study_tables(studies: Iterable[dict]) -> list[str]:
    """Lines of the page; tables whose studies have not been run are omitted."""
    rows = {study["study"]: {row["name"]: row for row in study["rows"]} for study in studies}
    return [*_four_lines(rows), *_student_beside(rows)]


def _four_lines(rows: dict[str, dict[str, dict]]) -> list[str]:
    """Unimodal, bimodal, late fusion and the proposed network, of each corpus."""
    cells = [
        [corpus, line, *_scores(rows[study][row]["test"]["teacher"]["emotion"])]
        for corpus, (study, lines) in FOUR_LINES.items()
        for line, row in lines.items()
        if row in rows.get(study, {})
    ]
    head = ("corpus", "line", "accuracy", "weighted F1 [95 %]", "UAR")
    return ["## In four lines", "", FOUR_LINES_CAPTION, "", *markdown_table(head, cells), ""] if cells else []


def _scores(emotion: dict[str, dict]) -> list[str]:
    return [
        format_number(emotion["accuracy"]["mean"]),
        format_interval(emotion["weighted_f1"]),
        format_number(emotion["uar"]["mean"]),
    ]


def _student_beside(rows: dict[str, dict[str, dict]]) -> list[str]:
    """The student restricted to a subset of its modalities, beside a network trained on that subset alone."""
    if not {"student", "subsets"} <= rows.keys():
        return []
    (student,) = (row["test"]["student"]["emotion_macro_f1_of"] for row in rows["student"].values())
    teachers = {_modalities(row): row["test"]["teacher"]["emotion"] for row in rows["subsets"].values()}
    separate = {subset: scores["macro_f1"]["mean"] for subset, scores in teachers.items()}
    cells = [
        [
            part.replace("+", " and "),
            format_number(score),
            format_number(separate[part]),
            f"{score - separate[part]:+.3f}",
        ]
        for part, score in ((name.removeprefix("only:"), value) for name, value in student.items())
        if part in separate
    ]
    head = ("part", "student, shown it", "network of its own", "difference")
    return ["## The student on a part of its modalities", "", STUDENT_CAPTION, "", *markdown_table(head, cells), ""]


def _modalities(row: dict) -> str:
    return "+".join(row["flags"].get("model.modalities", ()))
