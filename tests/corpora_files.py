"""Small raw datasets of every corpus's exact layout, written by the tests; media are a tone and a few pictures."""

import csv
import itertools
from pathlib import Path

import drawn
import numpy as np
import soundfile

RATE = 16000
MELD_COLUMNS = (
    "Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season", "Episode",
    "StartTime", "EndTime",
)  # fmt: skip
MELD_FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
# each dialogue: (who, own emotion code, words) in turn
IEMOCAP_TURNS = [("F", "neu", "Excuse me."), ("M", "fru", "Do you have your forms?"), ("F", "xxx", "Yeah."),
                 ("M", "exc", "Great\x92s.")]  # fmt: skip


def wav(path: Path, seconds: float = 0.5, hertz: float = 440.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, drawn.tone(seconds, RATE, hertz), RATE)
    return path


def clip(path: Path, seconds: float = 0.4) -> Path:
    times = [index / 25 for index in range(round(seconds * 25))]
    return drawn.write(path, pictures=drawn.flashes(times, seconds / 2), sound=drawn.tone(seconds, 22050))


def table(path: Path, rows: list[dict[str, str]], columns: tuple[str, ...] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, columns or tuple(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def meld(folder: Path) -> None:
    """Two dialogues of two turns a split."""
    for split, clips in MELD_FOLDERS.items():
        rows = []
        for dialogue, number in itertools.product(range(2), range(2)):
            values = (
                "1",
                "Fine.",
                "Joey",
                "joy",
                "positive",
                dialogue,
                number,
                "1",
                "1",
                "00:00:01,000",
                "00:00:01,400",
            )
            rows.append(dict(zip(MELD_COLUMNS, map(str, values), strict=True)))
            clip(folder / clips / f"dia{dialogue}_utt{number}.mp4")
        table(folder / f"{split}_sent_emo.csv", rows)


def iemocap(folder: Path, sessions=range(1, 6)) -> None:
    """A dialogue a session, whose video shows a dark left and a bright right half."""
    for session in sessions:
        name = f"Ses0{session}{'FM'[session % 2]}_impro01"
        root = folder / "IEMOCAP_full_release" / f"Session{session}"
        rated, said = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""], []
        for number, (who, emotion, words) in enumerate(IEMOCAP_TURNS):
            start, end = 0.4 * number, 0.4 * number + 0.36
            turn = f"{name}_{who}{number:03}"
            rated += [f"[{start:.4f} - {end:.4f}]\t{turn}\t{emotion}\t[2.5000, 2.5000, 2.5000]",
                      "C-E2:\tNeutral;\t()", "A-E3:\tval 3; act 2; dom  2;\t()", ""]  # fmt: skip
            said.append(f"{turn} [{start:08.4f}-{end:08.4f}]: {words}")
            wav(root / "sentences/wav" / name / f"{turn}.wav", end - start, 300.0 + 100 * number)
        said.append("M: [BREATHING]")
        for place, lines in (("EmoEvaluation", rated), ("transcriptions", said)):
            (root / "dialog" / place).mkdir(parents=True)
            (root / "dialog" / place / f"{name}.txt").write_bytes("\n".join(lines).encode("latin-1"))
        halves = np.zeros((96, 160, 3), np.uint8)
        halves[:, 80:] = 255
        (root / "dialog/avi/DivX").mkdir(parents=True)
        drawn.write(root / "dialog/avi/DivX" / f"{name}.avi", pictures=[halves] * 45, sound=drawn.tone(1.8, 22050))


def ravdess(folder: Path, actors=range(1, 25), emotions=range(1, 9), suffix: str = ".wav") -> None:
    """A clip an actor and emotion, and the table of folds (of our own making: actor modulo 6)."""
    for actor, emotion in itertools.product(actors, emotions):
        name = f"03-01-{emotion:02}-01-0{1 + actor % 2}-01-{actor:02}{suffix}"
        wav(folder / f"Actor_{actor:02}" / name, 0.3, 200.0 + 40 * emotion + actor)
    table(folder / "folds.csv", [{"actor": str(actor), "test_fold": str(actor % 6 + 1)} for actor in range(1, 25)])


def own(folder: Path) -> None:
    """Clips of their own and parts of one recording."""
    clip(folder / "clips/hello.mp4")
    wav(folder / "long.wav", 2.0)
    rows = [
        {"split": "train", "dialogue": "a", "speaker": "Ann", "text": "Hello.", "emotion": "joy",
         "sentiment": "positive", "clip": "clips/hello.mp4", "start": "", "end": ""},
        {"split": "train", "dialogue": "a", "speaker": "Ben", "text": "Go away.", "emotion": "angry",
         "sentiment": "negative", "clip": "long.wav", "start": "0.2", "end": "0.9"},
        {"split": "dev", "dialogue": "b", "speaker": "Ann", "text": "", "emotion": "",
         "sentiment": "", "clip": "long.wav", "start": "0.9", "end": "1.4"},
        {"split": "test", "dialogue": "c", "speaker": "Cy", "text": "Oh.", "emotion": "neutral",
         "sentiment": "neutral", "clip": "long.wav", "start": "1.4", "end": "2.0"},
    ]  # fmt: skip
    table(folder / "utterances.csv", rows)


# corpus -> who writes its files, and its options
FILES = {
    "sample": (meld, {}),
    "meld": (meld, {"twins": "evidence", "media": "clips"}),
    "iemocap": (iemocap, {"test_session": 5, "dev_session": 4}),
    "ravdess": (ravdess, {"channel": "speech", "fold": 1, "test_actors": [], "dev_actors": []}),
    "folder": (own, {}),
}
