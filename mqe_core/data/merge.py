"""Several stores become one, without decoding an image: recordings that came in later join those that are there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from mqe_core.data.episode_store import EpisodeStore, EpisodeWriter

_SAME = ("image_size", "resize_rule", "control_hz", "domain")


def merge_stores(stores: Sequence[EpisodeStore], out: str | Path, *, overwrite: bool = False, progress: bool = False) -> EpisodeStore:
    """Write the episodes of `stores`, in this order, to a store at `out`; what each had skipped stays named.

    Raises ValueError, and leaves nothing behind, where they differ in image size, resize rule, rate or domain, or hold an episode of the same name.
    """
    first = stores[0].metadata
    for store in stores[1:]:
        for key in _SAME:
            if store.metadata[key] != first[key]:
                raise ValueError(
                    f"{store.path} has {key} {store.metadata[key]}, {stores[0].path} has {first[key]}: import both alike before they are merged"
                )
    formats = sorted({store.metadata["format"] for store in stores})
    head = {key: first[key] for key in ("image_size", "control_hz", "domain")}
    source = ", ".join(str(store.metadata["source"]) for store in stores)
    with EpisodeWriter(out, source=source, format="+".join(formats), overwrite=overwrite, **head) as writer:
        with tqdm(total=sum(store.num_episodes for store in stores), unit="episode", desc="merging", disable=not progress) as bar:
            for store in stores:
                for number in range(store.num_episodes):
                    writer.add(store.encoded_episode(number))
                    bar.update()
                for skipped in store.skipped:
                    writer.skip(skipped)
    return EpisodeStore.open(out)
