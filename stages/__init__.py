"""One file, one DVC stage. One thread per process: parallelism is over clips, seeds and folds."""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"  # before torch is imported; several threads on two busy cores cost 25 times
os.environ["TOKENIZERS_PARALLELISM"] = "false"
