"""Whole files, from which mutated ones are made: recordings, transcripts, tables, features, parameters, exports."""

import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

PARAMETERS = Path("params.yaml")
SAMPLE = Path("data/raw/sample/train_splits")
SAMPLE_CLIPS = 3
# file name -> (format, codec of pictures, codec of sound)
RECORDINGS = {
    "a.mp4": ("mp4", "libx264", "aac"),
    "a.mkv": ("matroska", "libx264", "libopus"),
    "a.webm": ("webm", None, "libopus"),
    "a.flv": ("flv", "flv", "libmp3lame"),
    "a.ts": ("mpegts", "mpeg2video", "mp2"),
    "a.mpg": ("mpeg", "mpeg1video", "mp2"),
    "a.avi": ("avi", "mpeg4", "libmp3lame"),
    "a.mov": ("mov", "mjpeg", "pcm_s16le"),
    "a.wav": ("wav", None, "pcm_s16le"),
    "a.mp3": ("mp3", None, "libmp3lame"),
    "a.flac": ("flac", None, "flac"),
    "a.ogg": ("ogg", None, "libopus"),
}
UTTERANCES = ("dia0_utt0", "dia0_utt1", "dia1_utt0")
SUBRIP = """1
00:00:00,000 --> 00:00:01,500
Ann: What a <i>day</i>!

2
00:00:02,000 --> 00:00:03,000
Yes.
"""
WEBVTT = """WEBVTT

00:00.000 --> 00:01.500 align:start
<v Ann>What a day!

NOTE x

00:02.000 --> 00:03.000
Yes.
"""
CUE_TABLE = """file,speaker,start,end,text
a.mp4,Ann,0.0,1.5,What a day!
a.mp4,Bob,2,3,Yes.
"""
TRANSCRIPTS = {"a.srt": SUBRIP, "a.vtt": WEBVTT, "a.csv": CUE_TABLE, "a.txt": "What a day!\n"}
MELD_TABLE = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
    '1,"Well, you know.",Joey,joy,positive,0,0,1,1,"00:00:01,000","00:00:02,400"\n'
    '2,It\x92s fine.,Monica,neutral,neutral,0,1,1,1,"00:00:02,500","00:00:04,000"\n'
)
FOLDER_TABLE = (
    "split,clip,dialogue,utterance,speaker,text,emotion,sentiment,start,end\n"
    "train,a.wav,d1,u1,Ann,Good morning.,joy,positive,0,0.5\n"
    "dev,a.wav,d2,,Bob,No!,anger,,,\n"
)
IEMOCAP_TABLE = "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\nC-E2:\tNeutral;\t()\n\n"
CLIP = {"name": "a.mp4", "text": "What a day!", "speaker": "Ann", "size": 1000}
ORDER = json.dumps({"clips": [CLIP], "cut": "all"})


def write_recordings(folder: Path) -> None:
    """One and a half seconds of noise and a tone in every format, and clips of the sample, if it is there."""
    for name, (container_format, video, audio) in RECORDINGS.items():
        _write_recording(folder / name, container_format, video, audio)
    for clip in sorted(SAMPLE.glob("*.mp4"))[:SAMPLE_CLIPS]:
        shutil.copyfile(clip, folder / clip.name)


def _write_recording(path: Path, container_format: str, video: str | None, audio: str) -> None:
    random = np.random.default_rng(0)
    rate = 48000 if audio == "libopus" else 44100
    with av.open(str(path), "w", format=container_format) as container:
        pictures = container.add_stream(video, rate=25) if video else None
        sound = container.add_stream(audio, rate=rate, layout="mono")
        if pictures is not None:
            pictures.width, pictures.height = 96, 64
            pictures.pix_fmt = "yuvj420p" if video == "mjpeg" else "yuv420p"
            for index in range(38):
                image = random.integers(0, 256, (8, 12, 3), np.uint8).repeat(8, 0).repeat(8, 1)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(pictures.encode(frame))
            container.mux(pictures.encode(None))
        fifo = av.AudioFifo()
        tone = (8000 * np.sin(np.arange(1.5 * rate) * 0.06)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
        frame.rate = rate
        resampler = av.AudioResampler(format=sound.format, layout="mono", rate=rate)
        for converted in resampler.resample(frame):
            fifo.write(converted)
        position = 0
        while (part := fifo.read(sound.frame_size or 1024, partial=True)) is not None:
            part.pts, part.time_base, position = position, Fraction(1, rate), position + part.samples
            container.mux(sound.encode(part))
        container.mux(sound.encode(None))


def write_transcripts(folder: Path) -> None:
    """Subtitles, a table and a text."""
    for name, content in TRANSCRIPTS.items():
        (folder / name).write_text(content, encoding="utf-8")


def write_tables(folder: Path) -> None:
    """The tables of corpora, named as their readers expect them."""
    (folder / "train_sent_emo.csv").write_bytes(MELD_TABLE.encode("latin-1"))
    (folder / "utterances.csv").write_text(FOLDER_TABLE, encoding="utf-8")
    (folder / "Ses01F_impro01.txt").write_text(IEMOCAP_TABLE, encoding="utf-8")


def write_features(folder: Path) -> None:
    """The same features in every format that is imported."""
    import h5py
    import pyarrow as pa
    import pyarrow.parquet as pq
    import safetensors.numpy
    import torch

    random = np.random.default_rng(0)
    arrays = {name: random.standard_normal((2, 6)).astype(np.float32) for name in UTTERANCES}
    lists = {name: array.tolist() for name, array in arrays.items()}
    (folder / "a.json").write_text(json.dumps(lists), encoding="utf-8")
    rows = [",".join(map(str, [name, *array.mean(axis=0)])) for name, array in arrays.items()]
    (folder / "a.csv").write_text("\n".join(["utterance,a,b,c,d,e,f", *rows]), encoding="utf-8")
    np.savez(folder / "a.npz", **arrays)
    np.save(folder / "dia0_utt0.npy", arrays["dia0_utt0"])
    for protocol in (0, 2, 5):
        (folder / f"protocol{protocol}.pkl").write_bytes(pickle.dumps(arrays, protocol=protocol))
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, folder / "a.pt")
    safetensors.numpy.save_file(arrays, folder / "a.safetensors")
    with h5py.File(folder / "a.h5", "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, compression="gzip")
    pq.write_table(pa.table({"utterance": list(lists), "features": list(lists.values())}), folder / "a.parquet")
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array)
            archive.writestr(f"{name}.npy", content.getvalue())


def write_parameters(folder: Path) -> None:
    """The repository's own."""
    shutil.copyfile(PARAMETERS, folder / PARAMETERS.name)


def write_orders(folder: Path) -> None:
    """What the page asks of its server."""
    (folder / "order.json").write_text(ORDER, encoding="utf-8")


WRITERS: dict[str, Callable[[Path], None]] = {
    "recording": write_recordings,
    "transcript": write_transcripts,
    "table": write_tables,
    "features": write_features,
    "parameters": write_parameters,
    "order": write_orders,
}
