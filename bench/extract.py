"""How fast a clip becomes a .wav and a .jpg, beside other ways: python -m bench.extract [CLIPS]

Clips (720p, 3.6 s, moving content, stereo AAC) by turns, processor seconds of one process and of the programs that
it starts, the median of three rounds, no faces. torchcodec and decord are optional (requirements-bench.txt).
torchcodec brings no FFmpeg: it is given PyAV's libraries, so that both decode with the same build.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from functools import partial
from importlib import import_module
from importlib.metadata import files
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np

from bench.turns import measure, not_installed
from merc.data.records.listing import Utterance
from merc.media.extraction import extraction, extraction_config
from merc.runtime.results import write_json

CLIPS, ROUNDS = 20, 3
SECONDS, RATE, FPS = 3.6, 48000, Fraction(24000, 1001)
WIDTH, HEIGHT = 1280, 720
SETTINGS = extraction_config.ExtractionConfig(
    audio=extraction_config.AudioConfig(min_seconds=0.2, max_seconds=15.0, vad="none", trim=False),
    video=extraction_config.VideoConfig(frame="middle", fps=0.0, side=224),
    faces=extraction_config.FaceConfig(detector="none", size=64),
    align="none",
)


def ours(clip: Path) -> None:
    """This repository's way, resumable and all."""
    labels = {"dialogue": "0", "group": "", "speaker": "", "text": "", "emotion": None, "sentiment": None}
    utterance = Utterance("train", name=clip.stem, start=None, end=None, media=clip, clip=clip.name, **labels)
    extraction.extract_utterance(extraction.ExtractionJob(utterance, SETTINGS, clip.parent / "ours"))


def moviepy(clip: Path) -> None:
    """With moviepy, opened so that its sound is right."""
    from moviepy import VideoFileClip

    with VideoFileClip(str(clip), audio_fps=16000) as opened:
        wav, jpg = (str(clip.parent / "moviepy" / f"{clip.stem}.{kind}") for kind in ("wav", "jpg"))
        opened.audio.write_audiofile(wav, fps=16000, nbytes=2, ffmpeg_params=["-ac", "1"], logger=None)
        opened.save_frame(jpg, t=SECONDS / 2)


def ffmpeg(clip: Path) -> None:
    """One call of the ffmpeg program; the middle is known to it for nothing."""
    from imageio_ffmpeg import get_ffmpeg_exe

    wav, jpg = (str(clip.parent / "ffmpeg" / f"{clip.stem}.{kind}") for kind in ("wav", "jpg"))
    sound = ["-map", "0:a", "-ac", "1", "-ar", "16000", wav]
    picture = ["-map", "0:v", "-ss", str(SECONDS / 2), "-frames:v", "1", "-q:v", "2", jpg]
    command = [get_ffmpeg_exe(), "-v", "error", "-y", "-threads", "1", "-i", str(clip), *sound, *picture]
    subprocess.run(command, check=True)


def torchcodec(clip: Path) -> None:
    """The frame that is shown in the middle, and the sound resampled and mixed while it is decoded."""
    from torchcodec.decoders import AudioDecoder, VideoDecoder

    video = VideoDecoder(str(clip), dimension_order="NHWC", seek_mode="approximate")
    frame = video.get_frame_played_at(SECONDS / 2)
    sound = AudioDecoder(str(clip), sample_rate=16000, num_channels=1).get_all_samples()
    _write(clip, "torchcodec", frame.data.numpy(), sound.data[0].numpy())


def decord(clip: Path) -> None:
    """As torchcodec, the frame by its number."""
    from decord import AudioReader, VideoReader

    video = VideoReader(str(clip), num_threads=1)
    picture = video[round(SECONDS / 2 * video.get_avg_fps())].asnumpy()
    sound = AudioReader(str(clip), sample_rate=16000, mono=True)[:].asnumpy()[0]
    _write(clip, "decord", picture, sound)


def _write(clip: Path, way: str, picture: np.ndarray, sound: np.ndarray) -> None:
    import cv2
    import soundfile

    cv2.imwrite(str(clip.parent / way / f"{clip.stem}.jpg"), picture[:, :, ::-1])
    soundfile.write(clip.parent / way / f"{clip.stem}.wav", sound, 16000, "PCM_16")


def limit(clip: Path) -> None:
    """Nothing but decoding the packets that our way decodes."""
    with av.open(str(clip)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        video.thread_count = audio.thread_count = 1
        for packet in container.demux([video, audio]):
            late = packet.stream is video and packet.dts is not None and packet.dts * video.time_base > SECONDS / 2
            if not late:
                packet.decode()


WAYS: dict[str, Callable[[Path], None]] = {
    "ours": ours,
    "moviepy": moviepy,
    "ffmpeg": ffmpeg,
    "torchcodec": torchcodec,
    "decord": decord,
    "limit": limit,
}
OPTIONAL = {"torchcodec": "torchcodec.decoders", "decord": "decord"}  # the module that shows whether a way loads


def draw(path: Path, seed: int) -> None:
    """A clip with moving content."""
    noise = np.random.default_rng(seed).integers(0, 255, (HEIGHT // 8, WIDTH // 8 + 200, 3), np.uint8)
    wide = np.repeat(np.repeat(noise, 8, 0), 8, 1)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream("aac", rate=RATE, layout="stereo")
        for index in range(round(SECONDS * FPS)):
            left = 3 * index
            picture = np.ascontiguousarray(wide[:, left : left + WIDTH])
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        sound = np.random.default_rng(seed).normal(0, 0.1, (2, round(SECONDS * RATE))).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout="stereo")
        frame.rate = RATE
        container.mux(audio.encode(frame))
        for stream in (video, audio):
            container.mux(stream.encode(None))


def load_peers() -> dict[str, str]:
    """Why each of the optional ways is left out."""
    missing = {}
    for way, module in OPTIONAL.items():
        try:
            import_module(module)
        except (ImportError, OSError, RuntimeError) as error:  # torchcodec raises the last without FFmpeg
            missing[way] = not_installed(way, error)
    return missing


def compare(clips: list[Path]) -> tuple[dict[str, float], dict[str, str]]:
    """Processor seconds a clip, by way; why others are left out."""
    missing = load_peers()
    ways = {name: partial(_each, way, clips) for name, way in WAYS.items() if name not in missing}
    for name in ways:
        (clips[0].parent / name).mkdir()
    return {name: taken / len(clips) for name, taken in measure(ways, ROUNDS).items()}, missing


def _each(way: Callable[[Path], None], clips: list[Path]) -> None:
    for clip in clips:
        way(clip)


def lend_ffmpeg(folder: Path) -> None:
    """Let processes that start from now on find PyAV's FFmpeg by its usual names, without the digests in them."""
    libraries = [Path(str(file.locate())) for file in files("av") or () if file.parts[0] == "av.libs"]
    for library in libraries:
        if named := re.fullmatch(r"(lib(?:av|sw)\w+)-\w+(\.so\.\d+).*", library.name):
            (folder / "".join(named.groups())).symlink_to(library)
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join([str(folder), *{str(one.parent) for one in libraries}])


def main(*words: str) -> None:
    """Measure in a process of its own, which loads the libraries that are lent."""
    number = int(words[0]) if words else CLIPS
    with tempfile.TemporaryDirectory() as place:
        clips = [Path(place) / f"clip{index}.mp4" for index in range(number)]
        (Path(place) / "ffmpeg-libraries").mkdir()
        lend_ffmpeg(Path(place) / "ffmpeg-libraries")
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            list(process.map(draw, clips, range(number)))
            seconds, missing = process.submit(compare, clips).result()
    ratios = {
        f"vs_{name}": taken / seconds["ours"] for name, taken in seconds.items() if name not in ("ours", "limit")
    }
    report = {
        "processor_milliseconds_a_clip": {name: 1e3 * taken for name, taken in seconds.items()},
        **ratios,
        "of_limit": seconds["limit"] / seconds["ours"],
        **missing,
    }
    write_json(Path("metrics/bench/extract.json"), report)
    print(Path("metrics/bench/extract.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(*sys.argv[1:])
