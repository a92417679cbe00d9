"""One algorithm per file; each reads top to bottom: losses, update, action, configuration.

An agent is a module with ``loss(batch) -> (loss, metrics)`` and ``policy_module()``; its configuration has ``sampler()``.
"""

from __future__ import annotations

from mqe_core.learning.agents.mqe import MQEAgent, MQEConfig

AGENTS = {"mqe": (MQEAgent, MQEConfig)}
