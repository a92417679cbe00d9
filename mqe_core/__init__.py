"""Multistep Quasimetric Estimation, deployed: data, learning, the policy bundle and the robot runtime."""
