"""The one exception for what a user can put right: shown as one line, never as a traceback."""


class Problem(Exception):
    """A mistake in input, parameters or environment; the message names the place, the value and the remedy."""
