"""`make pictures`: draws docs/pictures/*.png from the outputs that lie here, in Chromium; records what each shows.

Needs `make repro` first (or `dvc pull`), and chromium. test_pictures.py says which picture is older than that.
The confusion matrix and the curve of missing modalities are in plots/: the stage `evaluate` draws them.
"""

import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import networkx
import yaml
from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs/pictures"
RECORD = FOLDER / "sources.json"
PAGE_FILES = "merc/serve/web/page"
# picture -> what it shows: files and folders of the repository, or outputs, of which dvc.lock has a hash
SOURCES = {
    "page": ("out/export", "data/raw/sample", PAGE_FILES),
    "explanation": ("out/explain",),
    "pipeline": ("dvc.yaml",),
}
DOTS = 1.5  # of the picture, for one of CSS
COLOURS = 128  # of a picture's palette
FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--font-render-hinting=none",
    "--force-color-profile=srgb",
)


def digest(source: str) -> str:
    """SHA-256 of a file, of a folder's files, or of the hash that dvc.lock has of an output."""
    path = ROOT / source
    if source.startswith(("out/", "data/")):
        lock = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))
        outputs = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}
        content = outputs[source].encode()
    elif path.is_dir():
        content = b"".join(
            file.name.encode() + file.read_bytes() for file in sorted(path.iterdir()) if file.is_file()
        )
    else:
        content = path.read_bytes() if source != "dvc.yaml" else json.dumps(stage_graph()).encode()
    return hashlib.sha256(content).hexdigest()


def shown(name: str) -> dict[str, str]:
    """What a picture shows, with its digests as they are now."""
    return {source: digest(source) for source in SOURCES[name]}


def stage_graph() -> dict[str, dict[str, Any]]:
    """For each stage of dvc.yaml: its description, and the stages that it directly follows."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    outputs: dict[str, set[str]] = {}
    for name, stage in stages.items():
        declared = [*stage["outs"], *stage.get("metrics", [])]
        outputs[name] = {_plain(out if isinstance(out, str) else next(iter(out))) for out in declared}
    graph = networkx.DiGraph()
    graph.add_nodes_from(stages)
    for name, stage in stages.items():
        deps = [_plain(dep) for dep in stage["deps"] if dep.startswith(("out/", "data/raw", "metrics/"))]
        for other, outs in outputs.items():
            touching = any(
                dep == out or dep in _parents(out) or out in _parents(dep) for dep in deps for out in outs
            )
            if other != name and touching:
                graph.add_edge(other, name)
    reduced = networkx.transitive_reduction(graph)
    return {
        name: {"desc": stage["desc"], "after": sorted(reduced.predecessors(name))} for name, stage in stages.items()
    }


def _plain(path: str) -> str:
    """The path up to the first part that a matrix fills in."""
    return path.split("/$")[0].split("${")[0]


def _parents(path: str) -> set[str]:
    return {parent.as_posix() for parent in Path(path).parents}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=list(FLAGS))
        context = browser.new_context(
            viewport={"width": 1280, "height": 900},
            device_scale_factor=DOTS,
            reduced_motion="reduce",
            locale="en-GB",
        )
        context.set_default_timeout(300_000)
        page = context.new_page()
        for name, draw in DRAWN.items():
            if sys.argv[1:] and name not in sys.argv[1:]:
                continue
            written = _write(name, draw(page))
            print(f"{written.relative_to(ROOT)}: {written.stat().st_size // 1000} kB", flush=True)
            record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
            record[name] = shown(name)
            RECORD.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        browser.close()


def _write(name: str, png: bytes) -> Path:
    """The picture with a palette, which is a third of the size."""
    path = FOLDER / f"{name}.png"
    image = Image.open(BytesIO(png)).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


@contextmanager
def _served() -> Iterator[str]:
    """Address of `python -m merc serve` with the exported student."""
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-m", "merc", "serve", "--port", "0", "--no-asr"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=dict(os.environ))
        try:
            while True:
                log.seek(0)
                if found := re.search(r"http://\S+/", said := log.read()):
                    yield found[0]
                    return
                assert process.poll() is None, said
                time.sleep(0.2)
        finally:
            process.terminate()
            process.wait()


def page_at_work(page: Page) -> bytes:
    """The page with the second bundled conversation, one utterance of it explained."""
    with _served() as address:
        page.goto(address)
        page.locator("#examples button").nth(1).click()
        page.wait_for_selector("#utterances .utterance")
        utterances = page.locator("#utterances .utterance")
        # the surest answer that is not neutral
        surest = page.evaluate(
            """() => {
              const rows = [...document.querySelectorAll('#utterances .utterance')].map((one) => one.innerText);
              const percent = (row) => Number((/(\\d+) ?%/.exec(row) || [0, 0])[1]);
              const sure = rows.map((row) => /neutral/.test(row) ? 0 : percent(row));
              return sure.indexOf(Math.max(...sure));
            }"""
        )
        utterances.nth(surest).click()
        page.wait_for_selector(".why[aria-busy=false]")
        page.wait_for_timeout(1500)
        page.evaluate("scrollTo(0, 0)")
        heading = page.locator(".detail h4").nth(1).bounding_box()
        assert heading is not None
        height = heading["y"] + heading["height"] + 1  # no line of text is cut
        return page.screenshot(clip={"x": 0, "y": 0, "width": 1280, "height": height}, full_page=True)


def explanation(page: Page) -> bytes:
    """The first prediction of the gallery, in two columns."""
    page.set_viewport_size({"width": 820, "height": 900})
    page.goto((ROOT / "out/explain/gallery/index.html").as_uri())
    page.wait_for_load_state("networkidle")
    box = page.locator("#u0").bounding_box()
    assert box is not None
    clip = {"x": box["x"] - 20, "y": box["y"] + 4, "width": box["width"] + 40, "height": box["height"] + 8}
    return page.screenshot(clip=clip, full_page=True)


def pipeline(page: Page) -> bytes:
    """A box for each stage, from left to right, with an arrow from each that it directly follows."""
    stages = stage_graph()
    corner = {
        name: (20 + number % PER_ROW * (WIDTH + GAP), 16 + number // PER_ROW * (HEIGHT + 52))
        for number, name in enumerate(stages)
    }
    boxes = "".join(
        f'<div style="left:{x}px;top:{y}px"><b>{name}</b>{html.escape(stages[name]["desc"])}</div>'
        for name, (x, y) in corner.items()
    )
    lines = "".join(_arrow(corner[other], corner[name]) for name in stages for other in stages[name]["after"])
    page.set_viewport_size({"width": 40 + PER_ROW * (WIDTH + GAP) - GAP, "height": 84 + 2 * HEIGHT})
    page.set_content(DRAWING.format(boxes=boxes, lines=lines, width=WIDTH, height=HEIGHT))
    return page.screenshot()


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    """An SVG path from the right of a box: to its neighbour, over others to a top, or round to the next row."""
    x, y, to_x, to_y = start[0] + WIDTH, start[1] + HEIGHT // 2, end[0], end[1] + HEIGHT // 2
    above = end[1] - 26
    if to_y > y:
        bend = f"h{GAP // 2} V{above} H{to_x - 12} V{to_y} H{to_x - 7}"
    elif to_x - x > GAP:
        bend = f"h{GAP // 2 - 4} V{end[1] - 14} H{to_x + WIDTH // 2} V{end[1] - 7}"
    else:
        bend = f"H{to_x - 7}"
    return f'<path d="M{x},{y} {bend}"/>'


WIDTH, HEIGHT, GAP, PER_ROW = 176, 112, 32, 6  # pixels of a box, and between two; boxes in a row
DRAWING = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #fff; font: 13px/1.3 "DejaVu Sans", sans-serif; color: #4a545c }}
div {{ position: absolute; box-sizing: border-box; width: {width}px; height: {height}px; padding: 8px 10px;
  border: 1.5px solid #1f5f6f; border-radius: 9px; background: #f3f7f8; overflow: hidden; font-size: 11.5px }}
b {{ display: block; color: #123; font-size: 15px; margin-bottom: 3px }}
svg {{ position: absolute; width: 100%; height: 100% }} path {{ fill: none; stroke: #1f5f6f; stroke-width: 1.6;
  marker-end: url(#head) }}</style>
<svg><marker id="head" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="6" markerHeight="6" orient="auto">
<path d="M0,0 L8,4 L0,8 z" style="fill:#1f5f6f;stroke:none;marker-end:none"/></marker>{lines}</svg>{boxes}"""
DRAWN = {"page": page_at_work, "explanation": explanation, "pipeline": pipeline}

if __name__ == "__main__":
    main()
