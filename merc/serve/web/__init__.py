"""The web page of `python -m merc serve`: server, jobs, uploads and the page itself."""
