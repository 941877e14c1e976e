"""Chooses a deployment, calls it, and degrades on purpose: retry, fall back, or say clearly why not."""
