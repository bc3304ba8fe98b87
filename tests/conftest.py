"""Hypothesis profiles: dev (default, quick), ci, thorough. Choose with HYPOTHESIS_PROFILE."""

import os

from hypothesis import HealthCheck, settings

for name, examples in {"dev": 12, "ci": 25, "thorough": 300}.items():
    settings.register_profile(name, max_examples=examples, deadline=None, print_blob=True,
                              suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
