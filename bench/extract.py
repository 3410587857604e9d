"""How fast a clip becomes a .wav and a .jpg, beside other ways: python -m bench.extract

60 clips (720p, 3.6 s, moving content, stereo AAC), two processes each, the median of three interleaved rounds, no
faces. Only on an idle machine do the ratios mean anything.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from merc.data.records.listing import Utterance
from merc.media.extraction import extraction, extraction_config
from merc.runtime.results import write_json

CLIPS, ROUNDS, PROCESSES = 60, 3, 2
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
    subprocess.run([get_ffmpeg_exe(), "-v", "error", "-y", "-i", str(clip), *sound, *picture], check=True)


def limit(clip: Path) -> None:
    """Nothing but decoding the packets that our way decodes."""
    with av.open(str(clip)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        video.thread_count = audio.thread_count = 1
        for packet in container.demux([video, audio]):
            late = packet.stream is video and packet.dts is not None and packet.dts * video.time_base > SECONDS / 2
            if not late:
                packet.decode()


WAYS: dict[str, Callable[[Path], None]] = {"ours": ours, "moviepy": moviepy, "ffmpeg": ffmpeg, "limit": limit}


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


def measure(clips: list[Path]) -> dict[str, float]:
    """Clips a second, by way."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    with ProcessPoolExecutor(PROCESSES) as pool:
        for way in WAYS.values():  # imports
            list(pool.map(way, clips[: 2 * PROCESSES]))
        for _ in range(ROUNDS):
            for name, way in WAYS.items():
                began = time.perf_counter()
                list(pool.map(way, clips))
                seconds[name].append(time.perf_counter() - began)
    return {name: len(clips) / statistics.median(times) for name, times in seconds.items()}


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        clips = [Path(place) / f"clip{number}.mp4" for number in range(CLIPS)]
        for name in WAYS:
            (Path(place) / name).mkdir()
        with ProcessPoolExecutor(PROCESSES) as pool:
            list(pool.map(draw, clips, range(CLIPS)))
        speed = measure(clips)
    ratios = {
        "vs_moviepy": speed["ours"] / speed["moviepy"],
        "vs_ffmpeg": speed["ours"] / speed["ffmpeg"],
        "of_limit": speed["ours"] / speed["limit"],
    }
    write_json(Path("metrics/bench/extract.json"), {"clips_per_second": speed, **ratios})
    for name, value in {**speed, **ratios}.items():
        print(f"{name:12}{value:8.2f}")


if __name__ == "__main__":
    sys.exit(main())
