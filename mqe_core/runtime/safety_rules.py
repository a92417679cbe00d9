"""The names of the safety filter's rules, as they stand in statuses, counters and logs."""

# Rules that clip, in the order they are applied.
WIND_UP = "wind_up"  # drawn back to where the target is no farther from an arm that does not follow than the last one
WORKSPACE = "workspace"  # position moved to the nearest point of the workspace box, or step shortened until the way stays inside
TABLE = "table"  # raised until no corner of the hand is lower than table and clearance, or step shortened until hand and elbow clear it
TRANSLATION_STEP = "translation_step"  # step from the last sent target: max_translation_step_m per base axis
ROTATION_STEP = "rotation_step"  # turn from it, as a rotation vector: max_rotation_step_rad per base axis
JOINT_VELOCITY = "joint_velocity"  # step shortened until no joint must move faster than its limit
JOINT_ACCELERATION = "joint_acceleration"  # step shortened, down to a stop, until no joint changes its velocity faster than its motors can
GRIPPER = "gripper"  # opening moved into [0, 1]
GRIPPER_EFFORT = "gripper_effort"  # not closed farther than it is commanded to be while the fingers squeeze harder than max_closing_effort_n
CLIP_RULES = (
    WIND_UP,
    WORKSPACE,
    TABLE,
    TRANSLATION_STEP,
    ROTATION_STEP,
    JOINT_VELOCITY,
    JOINT_ACCELERATION,
    GRIPPER,
    GRIPPER_EFFORT,
)

# Rules that refuse, in the order they are judged.
NOT_FINITE = "not_finite"  # NaN or infinity in the pose, the gripper or the stamp
NOT_A_POSE = "not_a_pose"  # the matrix is no rigid transform
WRONG_FRAME = "wrong_frame"  # expressed in a frame other than the spec's base frame
STALE = "stale"  # received longer ago than max_command_age_s, or in the future
WRONG_SESSION = "wrong_session"  # another session commands the arm
OUT_OF_ORDER = "out_of_order"  # sequence not above the last one heard in this session
TOO_SOON = "too_soon"  # less than half a control period after the last sent command
MOTORS = "motors"  # the backend reports motors that may not be driven
JOINT_STATE = "joint_state"  # measured joints are not finite, or read as a dead bus
STALE_STATE = "stale_state"  # joints were measured longer ago than max_joint_state_age_s
JOINT_LIMITS = "joint_limits"  # reachable only beyond a joint's position limit
UNREACHABLE = "unreachable"  # no joints reach the pose
PATH = "path"  # however short the step, the way there leaves the workspace box or meets the table
SELF_COLLISION = "self_collision"  # on the way there the arm would touch itself
JOINT_JUMP = "joint_jump"  # however short the step, the joints would have to jump (another branch of the arm)
REFUSE_RULES = (
    NOT_FINITE,
    NOT_A_POSE,
    WRONG_FRAME,
    STALE,
    WRONG_SESSION,
    OUT_OF_ORDER,
    TOO_SOON,
    MOTORS,
    JOINT_STATE,
    STALE_STATE,
    JOINT_LIMITS,
    UNREACHABLE,
    PATH,
    SELF_COLLISION,
    JOINT_JUMP,
)
