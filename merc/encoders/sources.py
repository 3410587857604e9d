"""Where pretrained weights come from: data/weights first, then the hub's cache, then the hub, never a long wait."""

import os
import socket
import threading
from pathlib import Path
from queue import Empty, Queue
from urllib.parse import urlsplit

from merc.problem import Problem

WEIGHTS = Path("data/weights")
PATIENCE = 1.5  # seconds that a server has to answer; then half of it again until it says what it has
WEIGHT_FILES = ("*.safetensors", "*.bin")  # the first kind that is there is loaded
OTHER_FILES = ("*.json", "*.txt", "*.model", "*.jinja")
WAYS_OUT = "put its files there, or run once with the network up, or choose an encoder that needs no download"


def folder(source: str, place: Path = WEIGHTS) -> Path:
    """The Hugging Face folder of `[owner/]name[@revision]`: <place>/<name>, or a snapshot of this revision."""
    model, _, revision = source.partition("@")
    own = place / model.split("/")[-1]
    if own.is_dir():
        return own
    if "/" not in model or not revision:
        raise Problem(
            f"{source}: not in {own}; a model of the hub is named owner/name@revision, so that it stays the same"
        )
    try:
        return _cached(model, revision) or _fetched(model, revision)
    except Exception as error:  # whatever the hub's client and its HTTP library raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        raise Problem(f"{source}: not in {own}, not in the hub's cache, {reason}; {WAYS_OUT}") from None


def checkpoint(name: str, url: str) -> Path:
    """A checkpoint file: data/weights/<the url's file name>, downloaded there if it is not."""
    path = WEIGHTS / url.rsplit("/", 1)[-1]
    if path.is_file():
        return path
    try:
        _knock(url)
        return _downloaded(url, path)
    except OSError as error:
        raise Problem(f"{name}: not in {path}, and {url} cannot be reached ({error}); {WAYS_OUT}") from None
    except RuntimeError as error:  # torch says so of a file that is not the official one
        raise Problem(f"{name}: not in {path}, and {url} gave another file ({error}); {WAYS_OUT}") from None


def _cached(model: str, revision: str) -> Path | None:
    from huggingface_hub import constants

    if not (Path(constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}").is_dir():
        return None
    from huggingface_hub import snapshot_download  # takes a second to import
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = Path(snapshot_download(model, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return found if any(path for kind in WEIGHT_FILES for path in found.glob(kind)) else None


def _fetched(model: str, revision: str) -> Path:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise ConnectionError("HF_HUB_OFFLINE is set")
    _knock(constants.ENDPOINT)
    from huggingface_hub import HfApi, snapshot_download

    about = HfApi().model_info(model, revision=revision, timeout=PATIENCE / 2)
    files = [one.rfilename for one in about.siblings or []]
    there = [kind for kind in WEIGHT_FILES if any("/" not in name and Path(name).match(kind) for name in files)]
    return Path(snapshot_download(model, revision=revision, allow_patterns=[*OTHER_FILES, *there[:1]]))


def _knock(url: str) -> None:
    """Find out in seconds whether the server answers; its own clients would retry for most of a minute.

    In a thread, because looking up a name knows no time limit.
    """
    answer: Queue[OSError | None] = Queue()
    threading.Thread(target=_reach, args=(url, answer), daemon=True).start()
    try:
        error = answer.get(timeout=PATIENCE)
    except Empty:
        raise TimeoutError(f"no answer within {PATIENCE:g} s") from None
    if error is not None:
        raise error


def _reach(url: str, answer: "Queue[OSError | None]") -> None:
    address = urlsplit(os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or url)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname, port), PATIENCE).close()
        answer.put(None)
    except OSError as error:
        answer.put(error)


def _downloaded(url: str, path: Path) -> Path:
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    digest = path.stem.rsplit("-", 1)[-1]  # official names end in the first digits of the file's sha256
    torch.hub.download_url_to_file(url, str(path), hash_prefix=digest, progress=False)
    return path
