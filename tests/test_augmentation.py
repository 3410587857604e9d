"""Augmentation of sounds against tones whose place in the spectrum is known; labels go with what is heard."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merc.data.records.encoder_inputs import SAMPLE_RATE, AudioInput
from merc.finetuning import augmentation
from merc.finetuning.augmentation import Augmenter
from merc.finetuning.finetuning_config import AugmentationConfig

OFF = dict.fromkeys(AugmentationConfig.model_fields, 0.0)
ALL = {
    "speed": 0.2, "seconds": 0.5, "gain": 6.0, "noise": 0.5, "time_mask": 0.2, "band_mask": 0.2, "mixup": 0.5
}  # fmt: skip


def tone(hertz, samples=SAMPLE_RATE, level=0.1):
    return (level * np.sin(2 * np.pi * hertz * np.arange(samples) / SAMPLE_RATE)).astype(np.float32)


def level(samples, hertz):
    """Of a tone in a sound: the projection on its sine and cosine."""
    angle = 2 * np.pi * hertz * np.arange(len(samples)) / SAMPLE_RATE
    return 2 * np.hypot((samples * np.sin(angle)).mean(), (samples * np.cos(angle)).mean())


def augmenter(seed=1, **changes):
    return Augmenter(AugmentationConfig(**(OFF | changes)), np.random.default_rng(seed))


def random(seed=0):
    return np.random.default_rng(seed)


def test_off_it_changes_nothing():
    sounds = [AudioInput(tone(200)), AudioInput(tone(300, 77))]
    augmented = augmenter()(sounds)
    assert all(np.array_equal(one.samples, own.samples) for one, own in zip(augmented.inputs, sounds, strict=True))
    assert augmented.partner.tolist() == [0, 1] and augmented.label_weight.tolist() == [1.0, 1.0]


def test_the_same_seed_hears_the_same_and_another_does_not():
    sounds = [AudioInput(tone(200 + 50 * number)) for number in range(6)]
    first, again, other = (augmenter(seed, **ALL)(sounds) for seed in (1, 1, 2))
    assert all(
        np.array_equal(one.samples, two.samples) for one, two in zip(first.inputs, again.inputs, strict=True)
    )
    assert np.array_equal(first.label_weight, again.label_weight)
    assert not np.array_equal(first.label_weight, other.label_weight)
    assert np.array_equal(sounds[0].samples, tone(200))  # what was given is left alone


@settings(max_examples=40, deadline=None)
@given(lengths=st.lists(st.integers(1, 3000), min_size=1, max_size=4), loud=st.sampled_from([0.0, 1e-4, 1.0]))
def test_any_sound_stays_a_sound(lengths, loud):
    sounds = [AudioInput(tone(500, length, loud)) for length in lengths]
    augmented = augmenter(3, **ALL)(sounds)
    assert len(augmented.inputs) == len(sounds) and sorted(augmented.partner) == list(range(len(sounds)))
    assert all(sound.samples.dtype == np.float32 and np.isfinite(sound.samples).all() for sound in augmented.inputs)
    assert all(1 <= len(sound.samples) <= ALL["seconds"] * SAMPLE_RATE for sound in augmented.inputs)
    assert ((augmented.label_weight >= 0.5) & (augmented.label_weight <= 1)).all()


@pytest.mark.parametrize("times", [0.8, 1.25])
def test_faster_is_shorter_and_higher(times):
    faster = augmentation.change_speed(tone(400), times)
    assert abs(len(faster) - SAMPLE_RATE / times) <= 1
    assert level(faster, 400 * times) > 0.095 > 0.01 > level(faster, 400)


def test_a_cut_is_a_piece_of_the_sound_and_every_place_is_possible():
    sound, chance = np.arange(10.0), random()
    firsts = {augmentation.random_crop(sound, 4, chance)[0] for _ in range(200)}
    assert firsts == set(range(7)) and np.array_equal(augmentation.random_crop(sound, 10, chance), sound)


def test_a_gap_in_time_is_no_wider_than_promised_and_the_rest_is_untouched():
    chance, widths = random(), []
    for _ in range(200):
        masked = augmentation.mask_time(np.ones(1000, np.float32), 0.3, chance)
        gap = np.flatnonzero(masked != 1)
        assert len(gap) == 0 or gap[-1] - gap[0] + 1 == len(gap)
        widths.append(len(gap))
    assert 280 <= max(widths) < 300


def test_a_gap_in_pitch_takes_out_two_bands_of_the_mel_scale_and_nothing_else():
    chance, impulse = random(), np.zeros(SAMPLE_RATE, np.float32)
    impulse[SAMPLE_RATE // 2] = 1
    for _ in range(50):
        left = np.abs(np.fft.rfft(augmentation.mask_bands(impulse, 0.2, chance)))
        gone = left < 0.5
        assert np.allclose(left[~gone], 1, atol=1e-3) and (left[gone] <= augmentation.MASK_GAIN + 1e-3).all()
        mel = 2595 * np.log10(1 + np.flatnonzero(gone) / 700)  # a bin is a hertz
        parts = np.split(mel, np.flatnonzero(np.diff(mel) > 5) + 1)
        assert len(parts) <= 2
        assert sum(np.ptp(part) for part in parts if len(part)) <= 2 * 0.2 * augmentation.MAX_MEL


@pytest.mark.parametrize("decibels", [10, 40])
def test_noise_lies_so_far_below_the_sound(decibels):
    added = augmentation.add_noise(tone(300), decibels, random()) - tone(300)
    ratio = 10 * np.log10(np.square(tone(300)).mean() / np.square(added).mean())
    assert ratio == pytest.approx(decibels, abs=0.3)


@pytest.mark.parametrize("louder", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("share", [0.5, 0.7, 0.99])
def test_two_at_once_are_heard_as_their_labels_count_however_loud_they_were(louder, share):
    both = augmentation.mix_sounds(tone(300), tone(1000, level=0.1 * louder), share)
    assert level(both, 300) / level(both, 1000) == pytest.approx(share / (1 - share), rel=1e-3)


@pytest.mark.parametrize("louder", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("share", [0.5, 0.7, 1.0])
def test_two_at_once_are_as_loud_as_lies_between_them(louder, share):
    one, other = tone(300), tone(1000, level=0.1 * louder)
    decibels = [20 * np.log10(np.sqrt(np.square(sound).mean())) for sound in (one, other)]
    mixed_level = 20 * np.log10(np.sqrt(np.square(augmentation.mix_sounds(one, other, share)).mean()))
    assert mixed_level == pytest.approx(share * decibels[0] + (1 - share) * decibels[1], abs=0.05)


def test_silence_mixes_with_anything():
    for one, other in ((tone(300), np.zeros(9, np.float32)), (np.zeros(9, np.float32), tone(300))):
        both = augmentation.mix_sounds(one, other, 0.6)
        assert both.dtype == np.float32 and len(both) == SAMPLE_RATE and np.isfinite(both).all()
        assert np.abs(both).max() < 0.1


def test_labels_name_who_is_heard():
    tones = [300.0 * (1 + number) for number in range(6)]
    augmented = augmenter(4, mixup=1.0)([AudioInput(tone(hertz)) for hertz in tones])
    for row, (sound, other, share) in enumerate(
        zip(augmented.inputs, augmented.partner, augmented.label_weight, strict=True)
    ):
        levels = np.array([level(sound.samples, hertz) for hertz in tones])
        expected = np.zeros(6)
        expected[row] += share
        expected[other] += 1 - share
        assert np.allclose(levels / levels.sum(), expected, atol=1e-3)
