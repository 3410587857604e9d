"""The bundled corpus: MELD's layout, planted defects, honest truth, and a best score that is computed."""

import csv
import itertools
import re
from collections import Counter
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import yaml

from merc.corpora.synthesis.clip import utterance_sentence
from merc.corpora.synthesis.plan import plan, process
from merc.corpora.synthesis.sentences import COMMON_PATTERNS, HELD_OUT_PATTERNS, TOPICS, fill_pattern
from merc.corpora.synthesis.voice.voice import FRAME_RATE
from merc.data.records import truth
from merc.data.records.labels import MELD_EMOTIONS
from merc.data.records.manifest import MODALITIES, SPLITS
from merc.runtime import params
from merc.studies.optimum import optimum, posterior
from stages import sample

ROOT = Path(__file__).parent.parent
SEED = params.read("sample.seed", int, ROOT / "params.yaml")
COUNTS = {split: params.read(f"sample.utterances.{split}", int, ROOT / "params.yaml") for split in SPLITS}
SMALL_SEED = 12  # its first dialogues are short: every defect fits into
FEW, MORE = {"train": 13, "dev": 8, "test": 8}, {"train": 15, "dev": 8, "test": 8}
COLUMNS = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"


def draw(folder: Path, counts: dict[str, int], workers: int) -> Path:
    """Run the stage in a folder of its own."""
    content = {
        "sample": {"seed": SMALL_SEED, "utterances": counts},
        "compute": {"workers": workers, "engine": "local"},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        sample.main()
    return folder / "data/raw/sample"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("few"), FEW, 1)


def labels(corpus: Path, split: str) -> list[dict[str, str]]:
    with (corpus / f"{split}_sent_emo.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def drawn(corpus: Path, split: str) -> list[tuple[dict, dict, Path]]:
    """Label row, truth and clip of every utterance."""
    rows, known = (
        labels(corpus, split),
        truth.read_truth_file(corpus / "truth" / f"{split}.parquet").to_dict("records"),
    )
    clips = [corpus / plan.FOLDERS[split] / f"{one['utterance']}.mp4" for one in known]
    return list(zip(rows, known, clips, strict=True))


def sound_clips(corpus: Path) -> list[tuple[dict, dict, Path]]:
    """Those of the first dialogues, which have no defects."""
    return [one for split in SPLITS for one in drawn(corpus, split) if one[0]["Dialogue_ID"] == "0"]


def decode(clip: Path) -> tuple[list[np.ndarray], np.ndarray]:
    with av.open(str(clip)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with av.open(str(clip)) as container:
        return pictures, np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def lines_of(split: str) -> list[process.DialogueTurn]:
    return [line for lines in optimum.split_lines(SEED, split, COUNTS[split]) for line in lines]


def seconds(clock: str) -> float:
    hours, minutes, whole, thousandths = map(int, re.fullmatch(r"(\d\d):(\d\d):(\d\d),(\d{3})", clock).groups())
    return hours * 3600 + minutes * 60 + whole + thousandths / 1000


def test_it_has_melds_layout(corpus):
    for split in SPLITS:
        assert (corpus / f"{split}_sent_emo.csv").read_text(encoding="utf-8").splitlines()[0] == COLUMNS
        assert len(labels(corpus, split)) == FEW[split]
        names = [path.name for path in (corpus / plan.FOLDERS[split]).iterdir()]
        assert all(re.fullmatch(r"(\._|final_videos_test)?dia\d+_utt\d+\.mp4", name) for name in names)


def test_neither_workers_nor_the_number_of_others_change_a_byte(corpus, tmp_path):
    other = draw(tmp_path, MORE, 2)
    for path in sorted(path for path in corpus.rglob("*") if path.is_file()):
        same = (other / path.relative_to(corpus)).read_bytes()
        if path.name in ("train_sent_emo.csv", "train.parquet"):
            continue  # one is longer
        assert path.read_bytes() == same, path.name
    assert labels(other, "train")[: FEW["train"]] == labels(corpus, "train")


def test_clips_are_as_long_as_their_labels_say_and_h264_with_aac(corpus):
    for row, known, clip in sound_clips(corpus):
        pictures, _ = decode(clip)
        assert len(pictures) == len(known["mouth"])
        assert len(pictures) / FRAME_RATE == pytest.approx(
            seconds(row["EndTime"]) - seconds(row["StartTime"]), abs=0.002
        )
        with av.open(str(clip)) as container:
            assert {stream.codec_context.name for stream in container.streams} == {"h264", "aac"}


def test_the_mouth_moves_with_the_sound(corpus):
    together = []
    for _, known, clip in sound_clips(corpus):
        _, sound = decode(clip)
        frames = sound[: len(known["mouth"]) * 882].reshape(-1, 882)
        together.append(np.corrcoef(np.sqrt((frames**2).mean(axis=1)), known["mouth"])[0, 1])
    assert np.mean(together) > 0.9


def test_a_detector_finds_the_faces_where_truth_has_them(corpus):
    haar = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    found = []
    for _, known, clip in sound_clips(corpus):
        pictures, _ = decode(clip)
        boxes = haar.detectMultiScale(cv2.cvtColor(pictures[len(pictures) // 2], cv2.COLOR_RGB2GRAY), 1.1, 4)
        found += [any(overlap(face, box) > 0.4 for box in boxes) for face in known["boxes"]]
    assert np.mean(found) >= 0.95


def overlap(face: dict, box) -> float:
    left, top, width, height = box
    across = min(face["left"] + face["width"], left + width) - max(face["left"], left)
    down = min(face["top"] + face["height"], top + height) - max(face["top"], top)
    both = max(across, 0) * max(down, 0)
    return both / (face["width"] * face["height"] + width * height - both)


def test_truth_agrees_with_the_labels(corpus):
    for row, known, _ in (one for split in SPLITS for one in drawn(corpus, split)):
        assert known["utterance"] == f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"
        assert not (row["Emotion"] == "neutral" and known["informative"])
        assert bool(known["words"]) == ("text" in known["informative"])
        assert (known["region"] is not None) == ("vision" in known["informative"])
        assert known["faces"] == len(known["boxes"]) and 0 <= known["speaker_face"] < known["faces"] <= 3
        text = row["Utterance"].replace("\u0092", "\u2019")
        carriers = [text[span["start"] : span["end"]] for span in known["words"]]
        assert all(carrier.strip() == carrier != "" for carrier in carriers)


def test_the_planted_defects_are_what_they_are_called(corpus):
    def clip(split: str, defect: str) -> Path:
        rows = plan.plan_utterances(SMALL_SEED, split, FEW[split], corpus)
        return next(row.path for row in rows if row.defect == defect)

    with pytest.raises(av.error.FFmpegError):
        decode(clip("train", "corrupt"))
    assert len(decode(clip("train", "near-zero"))[0]) == 1
    assert not clip("dev", "missing").exists()
    assert len(decode(clip("dev", "overlong"))[0]) == 20 * FRAME_RATE
    assert sum("\u0092" in row["Utterance"] for row in labels(corpus, "train")) == 1
    assert len(list((corpus / plan.FOLDERS["dev"]).glob("._dia*.mp4"))) == 1


def test_strays_have_no_label_row_and_another_length(corpus):
    folder, rows = corpus / plan.FOLDERS["test"], labels(corpus, "test")
    labelled = {f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}.mp4": row for row in rows}
    extra = {path.name for path in folder.iterdir()} - set(labelled)
    twin = next(name for name in extra if name.startswith("final_videos_test"))
    row = labelled[twin.removeprefix("final_videos_test")]
    assert len(extra) == 2
    assert len(decode(folder / twin)[0]) / FRAME_RATE > seconds(row["EndTime"]) - seconds(row["StartTime"]) + 1


def test_the_committed_corpus_has_one_of_each_defect_and_gaps_and_clean_first_dialogues():
    rows = {split: plan.plan_utterances(SEED, split, COUNTS[split], Path()) for split in SPLITS}
    planted = Counter(row.defect for split in SPLITS for row in rows[split] if row.defect)
    assert planted == dict.fromkeys(("corrupt", "missing", "near-zero", "overlong", "u0092"), 1)
    assert not any(row.defect for split in SPLITS for row in rows[split] if row.dialogue == 0)
    for split in SPLITS:
        assert len(rows[split]) == COUNTS[split]
        dialogues = {row.dialogue for row in rows[split]}
        assert dialogues < set(range(max(dialogues) + 1))
        assert 2 not in {row.number for row in rows[split] if row.dialogue == 1}


def test_every_class_is_there_and_neutral_leads():
    counts = {split: Counter(process.EMOTION[line.mood] for line in lines_of(split)) for split in SPLITS}
    total = sum(counts.values(), Counter())
    assert all(total[emotion] >= 0.06 * sum(COUNTS.values()) for emotion in MELD_EMOTIONS)
    assert all(counts[split][emotion] >= 5 for split in SPLITS for emotion in MELD_EMOTIONS)
    assert total.most_common(1)[0][0] == "neutral" and total["neutral"] > 2 * total.most_common(2)[1][1]


def test_emotions_are_said_in_many_ways_and_some_are_new_in_test():
    said = {
        split: {utterance_sentence(row).text for row in plan.plan_utterances(SEED, split, 200, Path())}
        for split in SPLITS
    }
    assert len(said["train"]) > 130
    for mood in process.MOODS:
        known, new = (
            {fill_pattern(pattern, TOPICS[0]).text for pattern in table[mood]}
            for table in (COMMON_PATTERNS, HELD_OUT_PATTERNS)
        )
        assert len(known) >= 7 and new and not known & new


def test_a_modality_that_shows_nothing_looks_like_a_neutral_one():
    neutral = {
        fill_pattern(one, thing).text
        for table in (COMMON_PATTERNS, HELD_OUT_PATTERNS)
        for one in table["neutral"]
        for thing in TOPICS
    }
    for row in plan.plan_utterances(SEED, "test", 60, Path()):
        assert (utterance_sentence(row).text in neutral) == ("text" not in row.shown)


def test_the_posterior_is_that_of_enumerating_every_course_of_the_dialogue():
    lines = process.dialogue_lines(SEED, "train", 6, [0, 1, 2, 3])
    chances = np.zeros((4, len(process.MOODS)))
    for course in itertools.product(range(len(process.MOODS)), repeat=4):
        weight = course_weight(lines, course)
        for turn, mood in enumerate(course):
            chances[turn, mood] += weight
    chances /= chances.sum(axis=1, keepdims=True)
    assert np.allclose(posterior.mood_posterior(lines, ("text", "vision")), chances)


def course_weight(lines: list[process.DialogueTurn], course: tuple[int, ...]) -> float:
    weight = 1.0
    for turn, line in enumerate(lines):
        own = [mood for mood, before in zip(course, lines[:turn], strict=False) if before.speaker == line.speaker]
        previous = course[turn - 1] if turn else None
        weight *= process.next_mood(line.speaker, previous, own[-1] if own else None)[course[turn]]
        weight *= posterior.mood_likelihood(line, ("text", "vision"))[course[turn]]
    return weight


def test_the_documented_optimum_is_the_computed_one():
    best = optimum.best_scores(SEED, COUNTS["test"])
    scores = {(score.modalities, score.context, score.task): score for score in best}
    text, all_three = scores[("text",), True, "emotion"], scores[MODALITIES, True, "emotion"]
    assert max(text.reached, text.expected) <= 0.65
    assert all(0.75 <= number <= 0.90 for number in (all_three.reached, all_three.expected))
    assert optimum.render_best_scores(best, SEED, COUNTS["test"]) in (ROOT / "docs/data.md").read_text(
        encoding="utf-8"
    )
