"""Several stores become one, without decoding an image: recordings that came in later join those that are there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from mqe_core.data.episode_store import EpisodeStore, EpisodeWriter

_MUST_AGREE = ("image_size", "resize_rule", "control_hz", "domain")


def merge_stores(
    stores: Sequence[EpisodeStore], out: str | Path, *, overwrite: bool = False, progress: bool = False
) -> EpisodeStore:
    """Write the episodes of `stores`, in this order, to a store at `out`; what each had skipped stays named.

    Raises ValueError, before anything is written, where they differ in image size, resize rule, rate or domain, or hold episodes of the same name.
    """
    if not stores:
        raise ValueError("nothing to merge")
    first = stores[0].metadata
    for store in stores[1:]:
        for key in _MUST_AGREE:
            if store.metadata[key] != first[key]:
                raise ValueError(
                    f"{store.path} has {key} {store.metadata[key]}, {stores[0].path} has {first[key]}: import both alike before they are merged"
                )
    of_name: dict[str, EpisodeStore] = {}
    for store in stores:
        for name in store.names:
            if name in of_name:
                raise ValueError(
                    f"{of_name[name].path} and {store.path} both hold an episode {name!r}: where they are two, import from a folder above, "
                    "so that their names differ"
                )
            of_name[name] = store
    formats = sorted({name for store in stores for name in store.metadata["format"].split("+")})
    head = {key: first[key] for key in ("image_size", "control_hz", "domain")}
    source = ", ".join(str(store.metadata["source"]) for store in stores)
    with EpisodeWriter(out, source=source, format="+".join(formats), overwrite=overwrite, **head) as writer:
        with tqdm(
            total=sum(store.num_episodes for store in stores), unit="episode", desc="merging", disable=not progress
        ) as bar:
            for store in stores:
                for number in range(store.num_episodes):
                    writer.add(store.encoded_episode(number))
                    bar.update()
                for skipped in store.skipped:
                    writer.skip(skipped)
    return EpisodeStore.open(out)
