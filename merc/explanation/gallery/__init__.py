"""The page of explained utterances."""
