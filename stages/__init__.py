"""DVC stages, one per file. Each process uses one thread: parallelism is over clips, seeds and folds."""

from merc.runtime import numerics

numerics.pin()  # before torch, numpy or OpenCV is loaded
