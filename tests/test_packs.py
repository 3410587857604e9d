"""Packs give back what was put in, for any lengths, and belong to one manifest alone."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from merc.data.records import packs
from merc.runtime.errors import UserError


def manifest(rows, dialogue="0"):
    ids = [f"dia{dialogue}_utt{row}" for row in range(rows)]
    return pd.DataFrame({"corpus": "sample", "split": "dev", "dialogue": dialogue, "utterance": ids}, dtype="str")


def pack_of(lengths, dim, dtype=np.float16):
    draw = np.random.default_rng(len(lengths) + dim)
    features = [None if length is None else draw.standard_normal((length, dim)) for length in lengths]
    units = [None if length is None else draw.standard_normal((length, 2)) for length in lengths]
    pack = packs.build_pack(
        features,
        units,
        draw.standard_normal((2, dim)),
        encoder="test",
        unit_names=("start", "end"),
        step_seconds=0.1,
        dtype=dtype,
    )
    return SimpleNamespace(features=features, units=units, pack=pack)


@given(
    lengths=st.lists(st.none() | st.integers(0, 7), max_size=12),
    dim=st.integers(0, 5),
    dtype=st.sampled_from([np.float16, np.float32]),
)
def test_a_pack_comes_back_whole(tmp_path_factory, lengths, dim, dtype):
    file = tmp_path_factory.mktemp("packs") / "deep" / "sample.audio.safetensors"
    made, rows = pack_of(lengths, dim, dtype), manifest(len(lengths))
    packs.write_pack(file, made.pack, rows)
    pack = packs.read_pack(file, rows)
    assert (pack.encoder, pack.unit_names, pack.step_seconds, pack.dim) == ("test", ("start", "end"), 0.1, dim)
    assert pack.present.tolist() == [length is not None for length in lengths]
    assert pack.values.dtype == pack.blank.dtype == dtype
    assert np.array_equal(pack.blank, made.pack.blank)
    for index, (features, units) in enumerate(zip(made.features, made.units, strict=True)):
        own = slice(pack.offsets[index], pack.offsets[index + 1])
        expected = np.zeros((0, dim)) if features is None else features
        assert np.array_equal(pack.utterance(index), expected.astype(dtype))
        assert np.array_equal(pack.units[own], np.zeros((0, 2)) if units is None else units.astype(np.float32))


@pytest.mark.parametrize("other", [manifest(3, "1"), manifest(4), manifest(2), manifest(3)[::-1]])
def test_a_pack_refuses_other_rows(tmp_path, other):
    packs.write_pack(tmp_path / "pack", pack_of([1, None, 2], 3).pack, manifest(3))
    with pytest.raises(UserError, match="other rows"):
        packs.read_pack(tmp_path / "pack", other)


def test_a_pack_is_never_written_for_a_manifest_of_another_length(tmp_path):
    with pytest.raises(ValueError, match="3 utterances, 4 rows"):
        packs.write_pack(tmp_path / "pack", pack_of([1, None, 2], 3).pack, manifest(4))


def test_the_same_pack_has_the_same_bytes_and_one_metadata_key(tmp_path):
    for name in ("one", "other"):
        packs.write_pack(tmp_path / name, pack_of([3, None, 1], 4).pack, manifest(3))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    with safe_open(tmp_path / "one", framework="numpy") as opened:
        assert list(opened.metadata()) == ["merc"]


def test_a_pack_that_is_not_there_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match="dvc repro encode"):
        packs.read_pack(tmp_path / "nothing", manifest(1))


def test_what_float16_cannot_hold_is_refused_by_name():
    large, none = np.full((1, 2), 70_000.0), np.zeros((1, 0))
    with pytest.raises(UserError, match="test: features up to 70000"):
        packs.build_pack([large], [none], large * 0, encoder="test", unit_names=(), step_seconds=None)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([[np.nan, 1e6]], "features up to 1e\\+06 do not fit into float16"),
        ([[np.inf, 1.0]], "an infinite feature"),
        ([[np.nan, -np.inf]], "an infinite feature"),
        ([[np.nan, 6e4], [np.nan, np.nan]], None),
    ],
)
def test_a_nan_hides_no_value_that_float16_cannot_hold(values, words):
    array = np.array(values, np.float32)

    def built():
        arguments = {"encoder": "test", "unit_names": (), "step_seconds": None}
        return packs.build_pack([array], [np.zeros((len(array), 0))], np.zeros((1, 2)), **arguments)

    if words:
        with pytest.raises(UserError, match=f"^test: {words}"):
            built()
    else:
        np.testing.assert_array_equal(built().values, array.astype(np.float16))
