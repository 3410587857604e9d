"""Feature files of every format, written without our code: name -> (steps, width) float32."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy
import torch


def to_json(path: Path, entries) -> None:
    path.write_text(json.dumps({name: array.tolist() for name, array in entries.items()}))


def to_npz(path: Path, entries) -> None:
    np.savez(path, **entries)


def to_torch(path: Path, entries) -> None:
    torch.save({name: torch.from_numpy(array) for name, array in entries.items()}, path)


def to_torch_numpy(path: Path, entries) -> None:
    torch.save(entries, path)


def to_hdf5(path: Path, entries) -> None:
    with h5py.File(path, "w") as opened:
        for name, array in entries.items():
            opened.create_dataset(name, data=array, compression="gzip")


def to_safetensors(path: Path, entries) -> None:
    safetensors.numpy.save_file(entries, path)


def to_parquet(path: Path, entries) -> None:
    table = {"utterance": list(entries), "features": [array.tolist() for array in entries.values()]}
    pq.write_table(pa.table(table), path)


def to_pickle(path: Path, entries) -> None:
    path.write_bytes(pickle.dumps(entries))


def to_folder(path: Path, entries) -> None:
    path.mkdir()
    for name, array in entries.items():
        np.save(path / f"{name}.npy", array)


def to_csv(path: Path, entries) -> None:
    """One step an utterance."""
    width = next(iter(entries.values())).shape[1]
    rows = [["filename", *(f"x{number}" for number in range(width))]]
    rows += [[f"{name}.wav", *map(repr, map(float, array[0]))] for name, array in entries.items()]
    path.write_text("\n".join(",".join(row) for row in rows))


WRITERS = {
    "a.json": to_json,
    "a.npz": to_npz,
    "a.pt": to_torch,
    "b.pth": to_torch_numpy,
    "a.h5": to_hdf5,
    "a.safetensors": to_safetensors,
    "a.parquet": to_parquet,
    "a.pkl": to_pickle,
    "folder": to_folder,
    "a.csv": to_csv,
}


def zipped(path: Path, inside: str = "") -> Path:
    """The file, or everything in the folder, in an archive beside it."""
    target = path.with_name(path.name + ".zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in sorted(path.rglob("*")) if path.is_dir() else [path]:
            archive.write(one, inside + (one.relative_to(path.parent).as_posix()))
    return target


def pickled(tmp_path, value, protocol=4) -> Path:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value, protocol))
    return tmp_path / "a.pkl"


def zip_of(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return written.getvalue()
