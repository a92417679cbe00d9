"""One algorithm per file; each reads top to bottom: losses, update, action, configuration.

An agent is a :class:`mqe_core.learning.networks.actor.Agent`; its configuration has ``sampler()``, which draws the
rows of a batch.
"""

from __future__ import annotations

from collections.abc import Callable

from mqe_core.learning.agents.cmd import CMDAgent, CMDConfig
from mqe_core.learning.agents.crl import CRLAgent, CRLConfig
from mqe_core.learning.agents.gcbc import GCBCAgent, GCBCConfig
from mqe_core.learning.agents.gciql import GCIQLAgent, GCIQLConfig
from mqe_core.learning.agents.gcivl import GCIVLAgent, GCIVLConfig
from mqe_core.learning.agents.hiql import HIQLAgent, HIQLConfig
from mqe_core.learning.agents.mqe import MQEAgent, MQEConfig
from mqe_core.learning.agents.nsacbc import NSACBCAgent, NSACBCConfig
from mqe_core.learning.agents.qrl import QRLAgent, QRLConfig
from mqe_core.learning.agents.tmd import TMDAgent, TMDConfig
from mqe_core.learning.agents.tra import TRAAgent, TRAConfig
from mqe_core.learning.networks.actor import ActorConfig, Agent

AGENTS: dict[str, tuple[Callable[..., Agent], type[ActorConfig]]] = {
    "mqe": (MQEAgent, MQEConfig),
    "gcbc": (GCBCAgent, GCBCConfig),
    "gciql": (GCIQLAgent, GCIQLConfig),
    "tra": (TRAAgent, TRAConfig),
    "crl": (CRLAgent, CRLConfig),
    "cmd": (CMDAgent, CMDConfig),
    "tmd": (TMDAgent, TMDConfig),
    "qrl": (QRLAgent, QRLConfig),
    "gcivl": (GCIVLAgent, GCIVLConfig),
    "hiql": (HIQLAgent, HIQLConfig),
    "nsacbc": (NSACBCAgent, NSACBCConfig),
}
