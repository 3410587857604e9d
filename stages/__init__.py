"""One file, one DVC stage. One thread per process: parallelism is over clips, seeds and folds."""

import os

# Before torch or OpenCV is imported: several threads on two busy cores cost 25 times, and OpenCV's pool does not
# survive a fork (a worker process that inherits it waits for ever).
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
    os.environ[_name] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
