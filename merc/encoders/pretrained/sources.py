"""Location of pretrained weights: data/weights, else the hub's cache, else the hub, with short timeouts."""

import os
import socket
import threading
from pathlib import Path
from queue import Empty, Queue
from urllib.parse import urlsplit

from merc.runtime.errors import UserError

WEIGHTS_FOLDER = Path("data/weights")
SERVER_TIMEOUT = 1.5  # seconds until a server must answer; half of it for its list of files
WEIGHT_FILES = ("*.safetensors", "*.bin")  # by preference: the first kind that exists is loaded
OTHER_FILES = ("*.json", "*.txt", "*.model", "*.jinja")
REMEDIES = "put its files there, or run once with the network up, or choose an encoder that needs no download"


def model_folder(source: str, parent: Path = WEIGHTS_FOLDER) -> Path:
    """Hugging Face folder of `[owner/]name[@revision]`: <parent>/<name>, or a snapshot of this revision."""
    model, _, revision = source.partition("@")
    local = parent / model.split("/")[-1]
    if local.is_dir():
        return local
    if "/" not in model or not revision:
        raise UserError(
            f"{source}: not in {local}; a model of the hub is named owner/name@revision, so that it stays the same"
        )
    try:
        return _cached(model, revision) or _download_model(model, revision)
    except Exception as error:  # any error of the hub's client and its HTTP library
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        raise UserError(f"{source}: not in {local}, not in the hub's cache, {reason}; {REMEDIES}") from None


def checkpoint_file(name: str, url: str) -> Path:
    """Path of a checkpoint file, data/weights/<file name of the url>, downloaded if it is missing."""
    path = WEIGHTS_FOLDER / url.rsplit("/", 1)[-1]
    if path.is_file():
        return path
    try:
        _check_reachable(url)
        return _download_file(url, path)
    except OSError as error:
        raise UserError(f"{name}: not in {path}, and {url} cannot be reached ({error}); {REMEDIES}") from None
    except RuntimeError as error:  # the hash differs from that of the official file
        raise UserError(f"{name}: not in {path}, and {url} gave another file ({error}); {REMEDIES}") from None


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


def _download_model(model: str, revision: str) -> Path:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise ConnectionError("HF_HUB_OFFLINE is set")
    _check_reachable(constants.ENDPOINT)
    from huggingface_hub import HfApi, snapshot_download

    info = HfApi().model_info(model, revision=revision, timeout=SERVER_TIMEOUT / 2)
    names = [file.rfilename for file in info.siblings or []]
    kinds = [kind for kind in WEIGHT_FILES if any("/" not in name and Path(name).match(kind) for name in names)]
    return Path(snapshot_download(model, revision=revision, allow_patterns=[*OTHER_FILES, *kinds[:1]]))


def _check_reachable(url: str) -> None:
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


def _download_file(url: str, path: Path) -> Path:
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    digest = path.stem.rsplit("-", 1)[-1]  # official file names end in the first digits of the SHA-256
    torch.hub.download_url_to_file(url, str(path), hash_prefix=digest, progress=False)
    return path
