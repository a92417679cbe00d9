"""What an image shows: a simulated table or a real one. A policy acts only on the domain it was trained on."""

from __future__ import annotations

SIM, REAL = "sim", "real"
DOMAINS = (SIM, REAL)


def require_domain(domain: object, source: str) -> None:
    """ValueError, naming `source`, unless `domain` is one of `DOMAINS`."""
    if domain not in DOMAINS:
        raise ValueError(f"{source}: domain must be one of {', '.join(DOMAINS)}; got {domain!r}")


def check_domain(policy_domain: str, domain: str, source: str) -> None:
    """ValueError, with the remedy, where images of `domain` from `source` would reach a policy of another domain."""
    require_domain(domain, source)
    if domain != policy_domain:
        raise ValueError(
            f"{source} shows {domain} images, but the policy was trained on {policy_domain} images and would act "
            f"blindly; use a policy exported with --domain {domain} (mqe data import, mqe train, mqe export), or "
            f"{policy_domain} images"
        )
