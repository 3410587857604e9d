"""Location of pretrained weights: data/weights, else the hub's cache, else the hub, with short timeouts."""

import hashlib
import os
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, Queue
from typing import Any
from urllib.parse import urlsplit

from merc.encoders.pretrained.cards import WEIGHTS
from merc.runtime import params
from merc.runtime.errors import UserError

WEIGHTS_FOLDER = Path("data/weights")  # of a checkout
SERVER_TIMEOUT = 1.5  # seconds until a server must answer; half of it for its list of files
WEIGHT_FILES = ("*.safetensors", "*.bin")  # by preference: the first kind that exists is loaded
OTHER_FILES = ("*.json", "*.txt", "*.model", "*.jinja")
REMEDIES = "put its files there, or run once with the network up, or choose an encoder that needs no download"


def weights_folder() -> Path:
    """data/weights in a checkout; elsewhere the folder MERC_WEIGHTS, else the user's cache folder."""
    if params.FILE.is_file() or WEIGHTS_FOLDER.is_dir():
        return WEIGHTS_FOLDER
    if given := os.environ.get("MERC_WEIGHTS"):
        return Path(given)
    import platformdirs

    return platformdirs.user_cache_path("merc") / "weights"


def place(name: str) -> Path:
    """Folder (of torchvision: file) of catalogued weights, whether or not it is there."""
    url = WEIGHTS[name].url
    return weights_folder() / (url.rsplit("/", 1)[-1] if url else name)


def model_folder(source: str, parent: Path | None = None) -> Path:
    """Hugging Face folder of a catalogued name or of `owner/name@revision`: <parent>/<name>, or a hub snapshot.

    `parent` is looked at first; a catalogued name may also lie with the others.
    """
    card = WEIGHTS.get(source)
    model, _, revision = (card.hub if card else source).partition("@")
    name = source if card else model.split("/")[-1]
    local = (parent or weights_folder()) / name
    for folder in (local, weights_folder() / name) if card else (local,):
        if folder.is_dir():
            return folder
    remedies = (
        f"python -m merc weights get {source}, or choose an encoder that needs no download" if card else REMEDIES
    )
    if card and card.form != "transformers":
        raise UserError(f"{source}: not in {local}; {remedies}")
    if "/" not in model or not revision:
        raise UserError(
            f"{source}: not in {local}; a model of the hub is named owner/name@revision, so that it stays the same"
        )
    try:
        return _cached(model, revision) or download_model(model, revision)
    except Exception as error:  # any error of the hub's client and its HTTP library
        raise UserError(
            f"{model}@{revision}: not in {local}, not in the hub's cache, {short_reason(error)}; {remedies}"
        ) from None


def checkpoint_file(name: str) -> Path:
    """Path of a torchvision checkpoint of the catalogue, downloaded if it is missing."""
    url, path = WEIGHTS[name].url, place(name)
    if path.is_file():
        return path
    try:
        return download_file(url, path)
    except OSError as error:
        raise UserError(f"{name}: not in {path}, and {url} cannot be reached ({error}); {REMEDIES}") from None
    except RuntimeError as error:  # the hash differs from that of the official file
        raise UserError(f"{name}: not in {path}, and {url} gave another file ({error}); {REMEDIES}") from None


def short_reason(error: Exception) -> str:
    """An error of the hub's client, in part of a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def _cached(model: str, revision: str) -> Path | None:
    """Snapshot in the hub's cache, if it has weights."""
    from huggingface_hub import constants

    if not (Path(constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}").is_dir():
        return None
    from huggingface_hub import snapshot_download  # takes a second to import
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        snapshot = Path(snapshot_download(model, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return snapshot if any(path for kind in WEIGHT_FILES for path in snapshot.glob(kind)) else None


def download_model(model: str, revision: str, folder: Path | None = None, files: Sequence[str] = ()) -> Path:
    """Fetch the files, or configuration, vocabulary and one kind of weights, into a folder or the hub's cache.

    What an earlier call has begun is gone on with. A file whose digest is not the hub's is an OSError.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise ConnectionError("HF_HUB_OFFLINE is set")
    check_reachable(constants.ENDPOINT)
    from huggingface_hub import HfApi, snapshot_download

    digests: dict[str, Any] = {"files_metadata": True} if folder else {}
    info = HfApi().model_info(model, revision=revision, timeout=SERVER_TIMEOUT / 2, **digests)
    listed = info.siblings or []
    names = [file.rfilename for file in listed]
    kinds = [kind for kind in WEIGHT_FILES if any("/" not in name and Path(name).match(kind) for name in names)]
    patterns = list(files) or [*OTHER_FILES, *kinds[:1]]
    got = Path(snapshot_download(model, revision=revision, allow_patterns=patterns, local_dir=folder))
    for file in listed if folder else ():
        if file.lfs and (got / file.rfilename).is_file() and sha256_of(got / file.rfilename) != file.lfs.sha256:
            (got / file.rfilename).unlink()
            raise OSError(f"{file.rfilename} is not the file that the hub lists")
    return got


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's content."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def check_reachable(url: str) -> None:
    """Raise an OSError if the server does not answer in time; the clients would retry for most of a minute.

    Connects in a thread, because name resolution has no timeout.
    """
    answer: Queue[OSError | None] = Queue()
    threading.Thread(target=_connect, args=(url, answer), daemon=True).start()
    try:
        error = answer.get(timeout=SERVER_TIMEOUT)
    except Empty:
        raise TimeoutError(f"no answer within {SERVER_TIMEOUT:g} s") from None
    if error is not None:
        raise error


def _connect(url: str, answer: "Queue[OSError | None]") -> None:
    address = urlsplit(os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or url)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname, port), SERVER_TIMEOUT).close()
        answer.put(None)
    except OSError as error:
        answer.put(error)


def download_file(url: str, path: Path) -> Path:
    """Fetch a file of torchvision; a RuntimeError if its SHA-256 does not begin as its name ends."""
    check_reachable(url)
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.hub.download_url_to_file(url, str(path), hash_prefix=name_digest(path), progress=sys.stderr.isatty())
    return path


def name_digest(path: Path) -> str:
    """First digits of the SHA-256 in the name of an official file of torchvision."""
    return path.stem.rsplit("-", 1)[-1]
