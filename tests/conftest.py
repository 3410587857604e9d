"""No network, one thread, few examples: `make test-all` asks for more through HYPOTHESIS_PROFILE=many."""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from hypothesis import HealthCheck, settings  # noqa: E402 (threads are set before anything imports torch)

settings.register_profile("few", max_examples=15, derandomize=True, deadline=None)
settings.register_profile(
    "many", max_examples=300, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "few"))
