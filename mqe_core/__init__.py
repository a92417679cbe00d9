"""Multistep Quasimetric Estimation, deployed: data, learning, the policy bundle and the robot runtime."""

__version__ = "0.1.0"  # the only home; setup.py reads it here, a test holds the ROS packages to it
