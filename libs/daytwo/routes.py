"""Which deployments may serve a model: the one rule of cost-meter, which prices them, and inference-router, which calls them."""

from __future__ import annotations

from collections.abc import Iterable

from daytwo.records import DeploymentConfigured


def candidates(model: str, deployments: Iterable[DeploymentConfigured]) -> list[DeploymentConfigured]:
    """The active deployments that `model` names, by their name, model or an alias; by priority, then name."""
    found = [d for d in deployments if d.active and (model in (d.deployment, d.model) or model in d.aliases)]
    return sorted(found, key=lambda d: (d.priority, d.deployment))
