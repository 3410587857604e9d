"""One file, one DVC stage. One thread per process: parallelism is over clips, seeds and folds."""

from merc import numerics

numerics.pin()  # before torch, numpy or OpenCV is loaded
