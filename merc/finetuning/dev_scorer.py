"""The score on dev that selects the best epoch of fine-tuning."""


class DevScorer:
    """Scores a network on dev; called, it returns the macro F1 of the emotions."""

    def __call__(self) -> float:
        return self.scores()["emotion"]["macro_f1"]

    def scores(self) -> dict[str, dict[str, float]]:
        """The headline scores of every task."""
        raise NotImplementedError
