"""Real processes, real faults: `python -m tests.chaos --help`, docs/chaos.md."""
