"""The names by which the arm's side says what it did to a command, each with what it means.

They stand in `/arm/status`, in counters, in logs and in recorded bags. Each table is in the order in which the rules
are applied. `docs/safety.md` gives the limits behind them.
"""

from __future__ import annotations

from mqe_core.robot.ranks import OPERATOR

# Rules that clip: the command is changed, sent, and says so.
WIND_UP = "wind_up"
WORKSPACE = "workspace"
TABLE = "table"
TRANSLATION_STEP = "translation_step"
ROTATION_STEP = "rotation_step"
JOINT_VELOCITY = "joint_velocity"
JOINT_ACCELERATION = "joint_acceleration"
GRIPPER = "gripper"
GRIPPER_EFFORT = "gripper_effort"
CLIP_RULES: dict[str, str] = {
    WIND_UP: "the arm does not follow, so the target comes no farther away from it than the last one was",
    WORKSPACE: "the position is moved into the workspace box, or the step ends before its way leaves the box",
    TABLE: "the hand is raised clear of the table, or the step ends before hand or elbow would meet it",
    TRANSLATION_STEP: "the step from the last sent target is shortened to max_translation_step_m per base axis",
    ROTATION_STEP: "the turn from the last sent target is shortened to max_rotation_step_rad per base axis",
    JOINT_VELOCITY: "the step is shortened until no joint has to move faster than its limit",
    JOINT_ACCELERATION: "the step is shortened, down to a stop, until no joint changes its velocity too fast",
    GRIPPER: "the opening is moved into 0 to 1",
    GRIPPER_EFFORT: "the fingers squeeze harder than max_closing_effort_n, so they close no farther",
}

# Rules that refuse: nothing is sent, the arm keeps its last sent target.
NOT_FINITE = "not_finite"
NOT_A_POSE = "not_a_pose"
WRONG_FRAME = "wrong_frame"
LONG_SESSION = "long_session"
STALE = "stale"
WRONG_SESSION = "wrong_session"
OUT_OF_ORDER = "out_of_order"
TOO_SOON = "too_soon"
MOTORS = "motors"
JOINT_STATE = "joint_state"
STALE_STATE = "stale_state"
JOINT_LIMITS = "joint_limits"
UNREACHABLE = "unreachable"
PATH = "path"
SELF_COLLISION = "self_collision"
JOINT_JUMP = "joint_jump"
REFUSE_RULES: dict[str, str] = {
    NOT_FINITE: "pose, gripper or stamp hold NaN or infinity",
    NOT_A_POSE: "the matrix is no rigid transform",
    WRONG_FRAME: "the pose is expressed in another frame than the robot's base frame",
    LONG_SESSION: "the sender's name has more than 256 bytes",
    STALE: "the command was received longer ago than max_command_age_s, or is from the future",
    WRONG_SESSION: "another sender commands the arm",
    OUT_OF_ORDER: "the sequence number is not above the last one of this sender",
    TOO_SOON: "less than half a control period has passed since the last sent command",
    MOTORS: "the backend reports motors that may not be driven",
    JOINT_STATE: "the measured joints are not finite, read as a dead bus, or cannot be read at all",
    STALE_STATE: "the joints were measured longer ago than max_joint_state_age_s",
    JOINT_LIMITS: "the pose can only be reached beyond a joint's position limit",
    UNREACHABLE: "no joints reach the pose",
    PATH: "however short the step, its way leaves the workspace box or meets the table",
    SELF_COLLISION: "on the way there the arm would touch itself",
    JOINT_JUMP: "however short the step, the joints would have to jump to another branch of the arm",
}
# Of these, the ones that a policy rarely leaves by itself: it goes on asking for what is refused. From the neutral pose
# the way is another one.
FREED_BY_HOMING = (JOINT_LIMITS, UNREACHABLE, PATH, SELF_COLLISION, JOINT_JUMP)

# What refuses a command before any rule judges it: the arm's side takes none now.
HELD = "held"
FAULT = "fault"
HOMING = "homing"
PARKING = "parking"
NOT_NOW: dict[str, str] = {
    HELD: "an operator's hold, or a stop that asks for one, is in force until the arm is resumed",
    OPERATOR: "an operator has the arm; a policy gets it back when the arm is resumed",
    FAULT: "motors or joints cannot be trusted; when they can again, the arm is held",
    HOMING: "the arm moves to its neutral pose by itself",
    PARKING: "the arm moves to its sleep pose by itself",
}
