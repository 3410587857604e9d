"""Speech recognition by a tiny Whisper with random weights: loaded by the real code, equal to transformers' own."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

from merc.encoders.pretrained import transcription
from merc.runtime.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("whisper")
    tiny.whisper(place, std=0.4, encoder_layers=1, decoder_layers=1)
    return place


def test_what_is_written_down_is_what_the_model_says(folder):
    samples = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    heard = WhisperFeatureExtractor.from_pretrained(folder)(samples, sampling_rate=16000, return_tensors="pt")
    model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    with torch.no_grad():  # greedily, token by token
        said = torch.tensor([[1]])
        for _ in range(16):
            said = torch.cat(
                [said, model(heard.input_features, decoder_input_ids=said).logits[:, -1:].argmax(-1)], 1
            )
            if said[0, -1] == 2:
                break
    own = transcription.load_transcriber(str(folder))(samples)
    assert own == tiny.tokenizer().decode(said[0], skip_special_tokens=True).strip()
    assert own


def test_what_is_no_whisper_is_refused(tmp_path):
    with pytest.raises(UserError, match="is no speech recognition model"):
        transcription.load_transcriber(str(tmp_path))
    with pytest.raises(UserError, match="owner/name@revision"):
        transcription.load_transcriber("whisper-small")
