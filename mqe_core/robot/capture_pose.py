"""Where the arm waits while a goal's picture is taken, unless somebody says otherwise.

Source: bridge_data_robot's goal pose, its tool straight down (bridge_data_v2, experiments/eval.py).
"""

from __future__ import annotations

USUAL_CAPTURE_M = (0.3, 0.0, 0.15)
DOWN_AND_OPEN = (0.0, 0.0, 0.0, 1.0)  # roll, pitch, yaw in rad, gripper
USUAL_CAPTURE_POSE = (*USUAL_CAPTURE_M, *DOWN_AND_OPEN)
