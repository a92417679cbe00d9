"""ImportJob: all that decides what an import makes of its source, in a form that goes to other machines as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mqe_core.data.append import Addition
from mqe_core.data.episode_rules import EpisodeRules
from mqe_core.data.importer import import_episodes, open_source
from mqe_core.data.loading import Shard
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.units import Conversion


@dataclass(frozen=True)
class ImportJob:
    """The attributes are those of `open_source` and `import_episodes`."""

    source: Path
    source_name: str
    format: str = "auto"
    cameras: tuple[str, ...] = ()
    image_size: int | None = None
    jpeg_quality: int | None = None
    conversion: Conversion = Conversion()
    rules: EpisodeRules = EpisodeRules()
    trust_units: bool = False
    workers: int | None = None

    def run(
        self,
        out: Path,
        *,
        shard: Shard = Shard(),
        overwrite: bool = False,
        progress: bool = False,
        addition: Addition | None = None,
    ) -> EpisodeStore:
        """Do it, or go on with it, and open what was made. ValueError or WriteError where that cannot be."""
        return import_episodes(
            open_source(self.source, self.format, self.cameras),
            out,
            image_size=self.image_size,
            jpeg_quality=self.jpeg_quality,
            shard=shard,
            processes=True,
            source_name=self.source_name,
            workers=self.workers,
            overwrite=overwrite,
            progress=progress,
            conversion=self.conversion,
            rules=self.rules,
            trust_units=self.trust_units,
            root=self.source,
            cameras=self.cameras,
            addition=addition,
        )
