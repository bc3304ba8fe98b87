"""One BLAS thread a process, since pytest runs several; and hypothesis profiles: dev (default), ci, thorough."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("SCRATCHNET_COMPILED", "0")  # tests/test_compiled.py turns the compiled loops on

from hypothesis import HealthCheck, settings  # noqa: E402 (after the threads are set, before NumPy is imported)

for name, examples in {"dev": 8, "ci": 25, "thorough": 1000}.items():
    settings.register_profile(name, max_examples=examples, deadline=None, print_blob=True,
                              suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
