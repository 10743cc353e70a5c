"""Declarative GitOps for model deployments: manifests in git become deployments with recorded dock status ids."""

__version__ = "0.1.0"
