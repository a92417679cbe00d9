"""An arm behind bridge_data_robot's own server."""
