"""A tour of daytwo on real parts in a few minutes: `python -m deploy.demo`, or `make demo`."""
