"""MELD's layout on disk: archives, folders, file names, label tables."""
