"""Speech recognition for recordings without a transcript, by a Whisper of the catalogue, a folder or the hub.

A sound is decoded with times at its own length (whisper_model.py) and, where words come again at once, once more in
the 30 s that Whisper is trained on: whisper-tiny.en repeats itself otherwise (5 of 24 clips of RAVDESS).
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.encoders.pretrained import sources
from merc.runtime.errors import UserError

if TYPE_CHECKING:
    from merc.encoders.pretrained.whisper_model import WhisperModel

CATALOGUED = ("whisper-base", "whisper-tiny.en")  # in the order in which they are looked for
HINT = f"; python -m merc weights get {CATALOGUED[0]} brings what writes it down"  # where none is there
TOKENS_PER_SECOND = 10  # maximum, which no speaker reaches
MIN_TOKENS = 10
LANGUAGE_SECONDS = 2.0  # of sound by which the language of a recording is known
CHUNK_SECONDS = 28.0  # longest piece of a sound that is decoded at once
# Thresholds of the paper: a text is of silence, or a loop
NO_SPEECH, MIN_LOG_PROBABILITY, MAX_COMPRESSION = 0.6, -1.0, 2.4
LOOP_WORDS = 3  # that come again at once

SpeechRecogniser = Callable[[np.ndarray], str]  # 16 kHz float samples -> text


@dataclass
class Transcriber:
    """Function from samples at 16 kHz to text, of one recording; its weights are loaded when they are needed.

    The language of a multilingual model, which repeats itself without, is given or that of the first sound of at
    least 2 s; shorter sounds before it are each in their own.
    """

    name: str
    folder: Path
    language: str = ""

    detected_language: str = field(default="", compare=False)  # the language of the recording, if none was given

    def for_recording(self) -> "Transcriber":
        """One for another recording, whose language is still to be detected if none was given."""
        return Transcriber(self.name, self.folder, self.language)

    def load(self) -> "WhisperModel":
        """Load the weights, unless they are."""
        from merc.encoders.pretrained import whisper_model

        with LOADING:
            model = whisper_model.load(self.folder)
        if self.language and model.languages and self.language not in model.languages:
            known = ", ".join(sorted(model.languages))
            raise UserError(f"{self.name}: does not know the language {self.language!r}, but {known}")
        return model

    def __call__(self, samples: np.ndarray) -> str:
        import torch

        model, size = self.load(), round(CHUNK_SECONDS * SAMPLE_RATE)
        chunks = [samples[begin : begin + size] for begin in range(0, len(samples), size)]
        with model.lock, torch.inference_mode():
            texts = [self._write_down(model, chunk) for chunk in chunks if chunk.any()]
        return " ".join(text for text in texts if text)

    def _write_down(self, model: "WhisperModel", samples: np.ndarray) -> str:
        from merc.encoders.pretrained.whisper_model import MARGIN_SECONDS, WINDOW_SECONDS

        seconds = len(samples) / SAMPLE_RATE
        whole = model.time_token is None  # by its times alone the decoder knows where the sound ends
        hidden = model.encode(samples, WINDOW_SECONDS if whole else seconds + MARGIN_SECONDS)
        language, no_speech = self._begin(model, hidden, seconds)
        text, log_probability = _decode(model, hidden, language, seconds)
        if not whole and repeated_words(text):
            hidden = model.encode(samples)
            text, log_probability = _decode(model, hidden, language, seconds)
        if no_speech > NO_SPEECH and log_probability < MIN_LOG_PROBABILITY:
            return ""
        return without_loop(text)

    def _begin(self, model: "WhisperModel", hidden: Any, seconds: float) -> tuple[str, float]:
        """The language of a sound, and the probability that nothing is said in it."""
        from transformers.modeling_outputs import BaseModelOutput

        start = hidden.new_tensor([[model.settings.decoder_start_token_id]]).long()
        logits = model.model(encoder_outputs=BaseModelOutput(hidden), decoder_input_ids=start).logits[0, -1]
        language, languages = self.language or self.detected_language, model.languages
        if languages and not language:
            language = max(languages, key=lambda code: float(logits[languages[code]]))
            self.detected_language = language if seconds >= LANGUAGE_SECONDS else ""
        if model.time_token is None:
            return language, 0.0
        return language, float(logits.softmax(-1)[model.time_token - 2])  # <|nospeech|>, <|notimestamps|>, <|0.00|>


LOADING = Lock()  # one thread loads, the others wait for it


def installed() -> str | None:
    """The catalogued weights that are there; nothing is downloaded."""
    return next((name for name in CATALOGUED if (sources.place(name) / "model.safetensors").is_file()), None)


def default_transcriber(language: str = "") -> Transcriber | None:
    """A transcriber of the catalogued weights that are there, else None."""
    name = installed()
    return Transcriber(name, sources.place(name), language) if name else None


def chosen_transcriber(source: str | None, language: str, *, is_off: bool) -> Transcriber | None:
    """The transcriber of a command's options --asr, --language and --no-asr."""
    if is_off:
        if source:
            raise UserError("--asr and --no-asr: choose one of them")
        return None
    return load_transcriber(source, language) if source else default_transcriber(language)


def load_transcriber(source: str, language: str = "") -> Transcriber:
    """A loaded transcriber; `source`: a name of the catalogue, a folder, one under data/weights, or id@revision."""
    folder = Path(source) if Path(source).is_dir() else sources.model_folder(source)
    made = Transcriber(Path(source).name.partition("@")[0], folder, language)
    made.load()
    return made


def for_recording(asr: SpeechRecogniser) -> SpeechRecogniser:
    """The recogniser for one more recording: of a Transcriber one that has its language to detect yet."""
    return asr.for_recording() if isinstance(asr, Transcriber) else asr


def remark(asr: SpeechRecogniser | None) -> str:
    """What is said of a text that was not given."""
    return f"written down by {asr.name if isinstance(asr, Transcriber) else 'speech recognition'}, not given"


def _decode(model: "WhisperModel", hidden: Any, language: str, seconds: float) -> tuple[str, float]:
    """The likeliest text, token by token, and the mean log-probability of a token."""
    import torch
    from transformers import GenerationMixin, LogitsProcessorList, StoppingCriteriaList
    from transformers.generation.logits_process import WhisperTimeStampLogitsProcessor
    from transformers.modeling_outputs import BaseModelOutput

    prompt, settings, times = model.prompt(language), model.settings, model.time_token
    room = model.model.config.max_target_positions - len(prompt)
    number = min(MIN_TOKENS + round(TOKENS_PER_SECOND * seconds), room)
    options: dict[str, Any] = {}
    if times is not None:
        past_end = times + int(seconds / 0.02)
        options = {
            "logits_processor": LogitsProcessorList([WhisperTimeStampLogitsProcessor(settings, len(prompt))]),
            # what begins after the end of the sound is none of it
            "stopping_criteria": StoppingCriteriaList([lambda ids, scores, **_: ids.amax(dim=1) >= past_end]),
        }
    # Whisper's own `generate` insists on 30 s
    said = cast("Any", GenerationMixin).generate(
        model.model,
        encoder_outputs=BaseModelOutput(hidden),
        decoder_input_ids=torch.tensor([prompt]),
        max_new_tokens=number,
        do_sample=False,
        suppress_tokens=settings.suppress_tokens or None,
        return_dict_in_generate=True,
        output_logits=True,
        **options,
    )
    tokens = said.sequences[0, len(prompt) :]
    scores = [logits[0].log_softmax(-1)[token] for logits, token in zip(said.logits, tokens, strict=True)]
    text_tokens = tokens if times is None else tokens[tokens < times]
    return model.tokenizer.decode(text_tokens, skip_special_tokens=True).strip(), float(sum(scores) / len(scores))


def repeated_words(text: str) -> tuple[int, int] | None:
    """(first, number) of at least 3 words that come again at once, if any, whatever their case and punctuation."""
    words = ["".join(filter(str.isalnum, word)).lower() for word in text.split()]
    for number in range(LOOP_WORDS, len(words) // 2 + 1):
        for first in range(len(words) - 2 * number + 1):
            if words[first : first + number] == words[first + number : first + 2 * number]:
                return first, number
    return None


def without_loop(text: str) -> str:
    """The text up to its first repetition, if it is so repetitive that it was not said."""
    content = text.encode()
    loop = repeated_words(text)
    if loop is None or len(content) / len(zlib.compress(content)) <= MAX_COMPRESSION:
        return text
    return " ".join(text.split()[: sum(loop)])
