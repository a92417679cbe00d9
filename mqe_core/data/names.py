"""What an episode's name says: a store keeps the path that the episode had in its source."""


def scene_of(name: str) -> str:
    """The dated folder of BridgeData that the episode lay in: its table, as it was set up.

    An episode whose name holds no `/raw/` is a scene of its own.
    """
    return name.rpartition("/raw/")[0] or name
