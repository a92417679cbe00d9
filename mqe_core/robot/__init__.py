"""The arm itself: its spec (every physical number), the one rotation convention, its kinematics."""
