"""Explanations of a network's predictions by attributions, and checks of their faithfulness."""
