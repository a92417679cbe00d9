"""The names of the ROS topics, services and action, once: nodes, readers of bags and operators build on them.

Their types and QoS stand in `mqe_ros.topics`, which loads message classes; this module loads nothing.
"""

from __future__ import annotations

# Topics
IMAGE = "/camera/image_raw"
COMPRESSED_IMAGE = f"{IMAGE}/compressed"
CAMERA_INFO = "/camera/camera_info"
GOAL_IMAGE = "/goal/image"
COMMAND = "/policy/command"
OPERATOR_COMMAND = "/operator/command"
JOY = "/joy"
POLICY_STATUS = "/policy/status"
REFERENCE_IMAGE = "/policy/reference_image"
CANDIDATES = "/policy/candidates"
EE_POSE = "/arm/ee_pose"
EE_TARGET = "/arm/ee_target"
JOINT_STATES = "/joint_states"
ARM_STATUS = "/arm/status"
INTENDED_PATH = "/arm/intended_path"
EPISODE_STATUS = "/episode/status"
DIAGNOSTICS = "/diagnostics"

# Services
HOLD = "/arm/hold"
RESUME = "/arm/resume"
HOME = "/arm/home"
MARK_EPISODE = "/episode/mark"

# Action
REACH_GOAL = "/reach_goal"
