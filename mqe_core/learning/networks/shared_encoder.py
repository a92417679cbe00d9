"""One image encoder for critic and policy (`encoder_shared`): who can have it, and how the policy gets it."""

from __future__ import annotations

from torch import nn

from mqe_core.learning.networks.encoders import PairEncoder


def require_sharing(asked: bool, known: bool) -> None:
    """ValueError where an agent is asked to share its encoder that does not know how."""
    if asked and not known:
        raise ValueError("encoder_shared: mqe, tmd, cmd, qrl, gciql and gcivl know it, this agent does not")


def share_encoder(critic: nn.Module, actor: nn.Module) -> None:
    """Let the policy ``actor`` see through the encoder ``critic``, that of single observations or of pairs.

    ValueError where the two do not see alike: as one picture or as two.
    """
    seen = getattr(actor, "encoder", None)
    if seen is None:
        raise ValueError("encoder_shared: this policy has no encoder of its own")
    if isinstance(critic, PairEncoder):
        if not isinstance(seen, PairEncoder) or seen.early != critic.early:
            raise ValueError("encoder_shared needs actor_fusion: early here, as the values see both pictures at once")
        actor.encoder = critic
    else:
        if getattr(seen, "early", False):
            raise ValueError("encoder_shared needs actor_fusion: late, as the critic sees each picture alone")
        seen.encoder = critic
