"""collection_metadata.json: what BridgeData keeps beside `raw/`, and what this project writes of its own into it.

`domain` says what the images show. Files of the real robot, and of other people, say nothing of it and count as real.
`exported_from` says of which store a data set was made, and the names that its episodes have there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.files.text import read_json
from mqe_core.policy.domain import REAL, require_domain

FILE = "collection_metadata.json"


def one_domain(folders: Iterable[Path], root: Path) -> str:
    """The domain that the files in these folders state. ValueError where they differ."""
    domains = {_domain(folder) for folder in folders}
    if len(domains) > 1:
        raise ValueError(f"{root} mixes the domains {sorted(domains)}; import them into stores of their own")
    return domains.pop() if domains else REAL


def describe_export(folder: Path, store: EpisodeStore, numbers: Sequence[int]) -> None:
    """Write the file of an export of the episodes `numbers` of a store, in this order."""
    origin = {"fingerprint": store.fingerprint, "episodes": [store.names[number] for number in numbers]}
    about = {"domain": store.metadata["domain"], "exported_from": origin}
    (folder / FILE).write_text(json.dumps(about, indent=1), encoding="utf-8")


def _domain(folder: Path) -> str:
    file = folder / FILE
    if not file.is_file():
        return REAL
    metadata = read_json(file)
    domain = metadata.get("domain", REAL) if isinstance(metadata, dict) else REAL
    require_domain(domain, str(file))
    return str(domain)
