"""Runtime of every stage and command: errors, params.yaml, result files, worker processes, resuming, numerics.

The lowest layer: imports no other package of merc.
"""
