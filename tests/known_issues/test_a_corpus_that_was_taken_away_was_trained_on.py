"""After `data.corpora` is shortened, plain `dvc repro` leaves the old corpus's files, and stages read them."""

import pytest

from merc.data.records import manifest as manifests
from merc.runtime.errors import UserError


def test_what_a_corpus_no_longer_named_left_behind_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert manifests.check_corpora(["sample"]) == ["sample"]
    (tmp_path / "out/extract/train/sample").mkdir(parents=True)
    (tmp_path / "out/encode/dev").mkdir(parents=True)
    (tmp_path / "out/encode/dev/sample.text.safetensors").touch()
    assert manifests.check_corpora(["sample"]) == ["sample"]
    (tmp_path / "out/encode/dev/meld.text.safetensors").touch()
    (tmp_path / "out/extract/test/meld").mkdir(parents=True)
    with pytest.raises(UserError, match=r"rm -r out/encode/dev/meld\.text\.safetensors out/extract/test/meld$"):
        manifests.check_corpora(["sample"])
