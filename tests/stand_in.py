"""A stand-in for the page's model, and the limits that tests of the page have."""

import threading

from merc.runtime.errors import UserError
from merc.serve.web.jobs import PageLimits

LIMITS = PageLimits(
    clips=3,
    clip_bytes=1000,
    job_bytes=1500,
    readers=1,
    ready=0,
    waiting=6,
    session_waiting=2,
    waiting_bytes=8000,
    unsent=10.0,
    kept=3,
    idle=60.0,
    text=50,
    explanations=4,
    session_explanations=2,
)


class StandIn:
    """Reads a clip's bytes as its words; waits when told to, fails on b'broken'."""

    def __init__(self):
        self.about = {"modalities": ["text", "audio"], "labels": {"emotion": ["joy", "fear"]}, "writes_down": False}
        self.go, self.explained, self.reads, self.why = threading.Event(), 0, [], threading.Event()
        self.go.set()
        self.why.set()

    def read(self, job):
        read = []
        self.reads.append(job.clips[0].name)
        for clip in job.clips:
            while not self.go.wait(0.01):
                job.report(f"reading {clip.name}", 0.5)
            content = clip.path.read_bytes()
            if content == b"broken":
                raise UserError(f"{clip.path}: cannot be opened: moov atom not found")
            if content == b"bug":
                raise ZeroDivisionError("secret detail")
            read.append({"name": clip.name, "words": content.decode(), "said": clip.text})
        return read

    def view(self, dialogue):
        return [{"clip": number} for number in range(len(dialogue))]

    def answer(self, dialogue, hide):
        return [{"utterance": one["name"], "text": one["words"], "hidden": list(hide)} for one in dialogue]

    def explain(self, dialogue, number, hide):
        self.why.wait(20)
        self.explained += 1
        return {"words": dialogue[number]["words"], "hidden": list(hide)}

    def picture(self, dialogue, number, whole):
        return b"jpeg" if number == 0 else b""

    def subtitles(self, dialogue, rows):
        return "".join(row["text"] for row in rows)

    def close(self):
        self.is_closed = True
