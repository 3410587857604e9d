"""Tables of docs/results.md that combine rows of several studies; `rows` are the rows by study and name."""

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


def four_lines(rows: dict[str, dict[str, dict]]) -> list[tuple[str, str, dict]]:
    """Corpus, name and test scores of the unimodal, bimodal, late fusion and proposed network, where run."""
    return [
        (corpus, line, rows[study][row]["test"]["teacher"]["emotion"])
        for corpus, (study, lines) in FOUR_LINES.items()
        for line, row in lines.items()
        if row in rows.get(study, {})
    ]


def student_beside(rows: dict[str, dict[str, dict]]) -> list[tuple[str, float, float]]:
    """By subset of modalities, macro F1 of the student shown it and of a network trained on it alone."""
    if not {"student", "subsets"} <= rows.keys():
        return []
    (student,) = (row["test"]["student"]["emotion_macro_f1_of"] for row in rows["student"].values())
    teachers = {_modalities(row): row["test"]["teacher"]["emotion"] for row in rows["subsets"].values()}
    separate = {f"only:{subset}": scores["macro_f1"]["mean"] for subset, scores in teachers.items()}
    return [
        (name.removeprefix("only:").replace("+", " and "), score, separate[name])
        for name, score in student.items()
        if name in separate
    ]


def _modalities(row: dict) -> str:
    return "+".join(row["flags"].get("model.modalities", ()))
