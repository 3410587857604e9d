"""Small raw datasets of every corpus's exact layout, written by the tests; media are a tone and a few pictures."""

import csv
import itertools
import json
from pathlib import Path

import drawn
import h5py
import numpy as np
import soundfile

from merc.data.records.manifest import SPLITS

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


# MMSA's columns; a split has a video of two segments
MOSI_VIDEOS = {"03bSnISJMiM": "train", "WKA5OygbEKI": "valid", "tmZoasNr4rU": "test"}
MOSI_COLUMNS = ("video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V", "annotation", "mode")
FOLDS = {
    name: [video for video, mode in MOSI_VIDEOS.items() if mode == name] for name in ("train", "valid", "test")
}
MOSEI_EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")
SEGMENTS = np.array([[0.2, 0.8], [1.0, 1.6]])  # seconds


def mosi(folder: Path) -> None:
    """MMSA's form: label.csv, and a clip a segment."""
    rows = []
    for video, mode in MOSI_VIDEOS.items():
        for number, (score, words) in enumerate([(2.4, "I LOVED IT"), (-1.8, "AND THEN, SO DULL")], start=1):
            values = (video, number, words, score, "", "", "", "Positive" if score > 0 else "Negative", mode)
            rows.append(dict(zip(MOSI_COLUMNS, map(str, values), strict=True)))
            clip(folder / "Raw" / video / f"{number}.mp4")
    table(folder / "label.csv", rows)


def sequence(path: Path, name: str, groups: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """A computational sequence of CMU's SDK: video -> (features, intervals)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as opened:
        for video, (features, intervals) in groups.items():
            opened[f"{name}/data/{video}/features"] = features
            opened[f"{name}/data/{video}/intervals"] = intervals
        opened[f"{name}/metadata/root name"] = [f'"{name}"']


def mosei(folder: Path) -> None:
    """The SDK's form: sequences of labels and of words, transcripts of one video, whole videos, standard folds."""
    labels = np.array([[0.0, 0, 0, 0, 0, 0, 0], [1.6667, 2.0, 0, 0, 0.6667, 0, 0]], np.float32)
    words = np.array([[b"sp"], [b"so"], [b"good"], [b"sp"], [b"or"], [b"bad"]])
    times = np.array([[0, 0.2], [0.2, 0.5], [0.5, 0.8], [0.8, 1.0], [1.0, 1.3], [1.3, 1.6]])
    order = [1, 0]  # segments are not sorted
    sequence(
        folder / "CMU_MOSEI_Labels.csd", "All Labels", dict.fromkeys(MOSI_VIDEOS, (labels[order], SEGMENTS[order]))
    )
    sequence(folder / "CMU_MOSEI_TimestampedWords.csd", "words", dict.fromkeys(MOSI_VIDEOS, (words, times)))
    video = next(iter(MOSI_VIDEOS))
    said = folder / "Raw/Transcript/Segmented/Combined" / f"{video}.txt"
    said.parent.mkdir(parents=True)
    said.write_text(f"{video}___0___0.2___0.8___So good!\n{video}___1___1.0___1.6___Or bad?\n", encoding="utf-8")
    for name in MOSI_VIDEOS:
        clip(folder / "Raw/Video/Full" / f"{name}.mp4", 1.8)
    lines = [f"standard_{name}_fold={videos!r}" for name, videos in FOLDS.items()]
    (folder / "cmu_mosei_std_folds.py").write_text("\n".join(lines), encoding="utf-8")


def cremad(folder: Path, actors=range(1001, 1006)) -> None:
    """A recording an actor and emotion, the first with its picture; the table of votes."""
    rows = []
    for number, (actor, code) in enumerate(itertools.product(actors, ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD"))):
        name = f"{actor}_IEO_{code}_{'XX' if code == 'NEU' else 'HI'}"
        wav(folder / "AudioWAV" / f"{name}.wav", 0.3, 200.0 + 10 * number)
        for query in (1, 2, 3):
            votes = dict.fromkeys("ADFHNS", "0") | {code[0]: "7", "N": "3"}
            first = {"": str(100000 * query + number)}
            rows.append(
                first | votes | {"fileName": name, "numResponses": "10", "agreement": "0.7", "emoVote": code[0]}
            )
    clip(folder / "VideoFlash/1001_IEO_ANG_HI.mp4")
    table(folder / "processedResults/tabulatedVotes.csv", rows)


def emodb(folder: Path) -> None:
    """A recording a speaker and emotion."""
    for speaker, letter in itertools.product((3, *range(8, 17)), "WLEAFTN"):
        wav(folder / "wav" / f"{speaker:02}a01{letter}a.wav", 0.3, 200.0 + 10 * speaker)


EMORY = [("Monica Geller", "Neutral", "There's nothing to tell!"), ("Joey Tribbiani", "Joyful", "C'mon!"),
         ("Chandler Bing", "Scared", "So does he have a hump?"), ("Ross Geller", "Sad", "Hi.")]  # fmt: skip


def emorynlp(folder: Path) -> None:
    """The authors' JSON: an episode, of two scenes, a split; one utterance has a clip."""
    for episode, split in enumerate(("trn", "dev", "tst"), start=1):
        scenes = [
            {"scene_id": f"s01_e{episode:02}_c{scene:02}", "utterances": [
                {"utterance_id": f"s01_e{episode:02}_c{scene:02}_u{number:03}", "speakers": [who],
                 "transcript": said, "tokens": [said.split()], "emotion": emotion}
                for number, (who, emotion, said) in enumerate(EMORY, start=1)]}
            for scene in (1, 2)
        ]  # fmt: skip
        content = {"season_id": split, "episodes": [{"episode_id": f"s01_e{episode:02}", "scenes": scenes}]}
        path = folder / "json" / f"emotion-detection-{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
    clip(folder / "emorynlp_train_splits/sea1_ep1_sc1_utt1.mp4")


def emorynlp_csv(folder: Path) -> None:
    """The same utterances in the form of MELD's authors."""
    for episode, split in enumerate(SPLITS, start=1):
        rows = [
            {"Utterance": said, "Speaker": str([who]), "Emotion": emotion, "Scene_ID": str(scene),
             "Utterance_ID": str(number), "Season": "1", "Episode": str(episode)}
            for scene in (1, 2) for number, (who, emotion, said) in enumerate(EMORY, start=1)
        ]  # fmt: skip
        table(folder / f"emorynlp_{split}_final.csv", rows)


def sentences(folder: Path, count: int = 30) -> None:
    """A table without recordings: words, a number, a list and votes beside each sentence."""
    rows = []
    for number in range(count):
        mood = ("glad", "cross", "plain")[number % 3]
        rows.append({"dialogue": f"d{number // 3}", "text": f"Sentence {number} is {mood}.", "mood": mood,
                     "score": str(number % 7 - 3), "holds": "glad; loud" if number % 2 else ";",
                     "mood_votes": f"{mood}: 2; plain: 1", "split": SPLITS[number // 3 % 3]})  # fmt: skip
    table(folder / "utterances.csv", rows)


# corpus -> who writes its files, and its options
FILES = {
    "sample": (meld, {}),
    "meld": (meld, {"twins": "evidence", "media": "clips"}),
    "iemocap": (iemocap, {"test_session": 5, "dev_session": 4}),
    "ravdess": (ravdess, {"channel": "speech", "fold": 1, "test_actors": [], "dev_actors": []}),
    "mosi": (mosi, {}),
    "mosei": (mosei, {}),
    "cremad": (cremad, {"fold": 1}),
    "emodb": (emodb, {"fold": 1}),
    "emorynlp": (emorynlp, {}),
    "folder": (own, {}),
}
