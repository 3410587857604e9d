"""After `data.corpora` is shortened, plain `dvc repro` leaves the old corpus's files, and stages read them."""

import pytest

from merc.data.records import manifest as manifests
from merc.runtime.errors import UserError

LOCK = """schema: '2.0'
stages:
  extract@meld:
    outs: [{path: out/extract/test/meld, md5: x}]
  encode@meld-text:
    outs: [{path: out/encode/dev/meld.text.safetensors, md5: x}]
"""


def test_what_a_corpus_no_longer_named_left_behind_goes_if_the_cache_has_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert manifests.check_corpora(["sample"]) == ["sample"]
    folder, pack = tmp_path / "out/extract/test/meld", tmp_path / "out/encode/dev/meld.text.safetensors"
    kept = tmp_path / "out/encode/dev/sample.text.safetensors"
    folder.mkdir(parents=True)
    pack.parent.mkdir(parents=True)
    pack.touch()
    kept.touch()
    with pytest.raises(UserError, match=r"rm -r out/encode/dev/meld\.text\.safetensors out/extract/test/meld$"):
        manifests.check_corpora(["sample"])
    (tmp_path / "dvc.lock").write_text(LOCK, encoding="utf-8")
    assert manifests.check_corpora(["sample"]) == ["sample"] and "outputs of meld" in capsys.readouterr().err
    assert kept.exists() and not folder.exists() and not pack.exists()


def test_what_nobody_computed_is_not_removed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.lock").write_text(LOCK, encoding="utf-8")
    for name in ("meld", "notes"):
        (tmp_path / "out/extract/test" / name).mkdir(parents=True)
    with pytest.raises(UserError, match=r"rm -r out/extract/test/notes$"):
        manifests.check_corpora(["sample"])
    assert (tmp_path / "out/extract/test/meld").exists()
