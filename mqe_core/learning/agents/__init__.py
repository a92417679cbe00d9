"""One algorithm per file; each reads top to bottom: losses, update, action, configuration.

An agent is a :class:`mqe_core.learning.actor.Agent`; its configuration has ``sampler()``, which draws the rows of a batch.
"""

from __future__ import annotations

from mqe_core.learning.agents.gcbc import GCBCAgent, GCBCConfig
from mqe_core.learning.agents.gciql import GCIQLAgent, GCIQLConfig
from mqe_core.learning.agents.mqe import MQEAgent, MQEConfig
from mqe_core.learning.agents.tra import TRAAgent, TRAConfig

AGENTS = {
    "mqe": (MQEAgent, MQEConfig),
    "gcbc": (GCBCAgent, GCBCConfig),
    "gciql": (GCIQLAgent, GCIQLConfig),
    "tra": (TRAAgent, TRAConfig),
}
