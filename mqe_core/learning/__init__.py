"""Offline training (torch): agents, networks, goal sampling, the training loop and the export."""
