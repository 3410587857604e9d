"""The garbage collector rests while a command loads, and leaves alone what was loaded."""

import gc

import pytest

from merc.runtime import collector


def test_it_rests_while_something_is_loaded_and_never_looks_at_it_again():
    gc.unfreeze()
    with collector.paused():
        assert not gc.isenabled()
        loaded = [[number] for number in range(1000)]
    assert gc.isenabled() and gc.get_freeze_count() > len(loaded)


def test_it_goes_on_after_a_mistake():
    with pytest.raises(ValueError, match="mistake"), collector.paused():
        raise ValueError("mistake")
    assert gc.isenabled()


def test_who_has_turned_it_off_keeps_it_off():
    gc.disable()
    try:
        with collector.paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
