"""Tables, figures and pages of the evaluation."""
