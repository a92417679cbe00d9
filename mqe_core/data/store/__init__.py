"""The EpisodeStore: how it is written, restarted, opened, checked and read."""
