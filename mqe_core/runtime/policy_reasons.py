"""The names by which the policy's side says why it sends no command, each with what it means. The arm keeps its target.

They stand in `/policy/status`, in the results of `mqe run` and `mqe eval`, and in logs, mostly followed by a detail.
"""

from __future__ import annotations

from mqe_core.policy.reachability import FAR, UNREACHABLE

NO_GOAL = "no_goal"
NO_FRAME = "no_frame"
STALE_FRAME = "stale_frame"
WRONG_SHAPE = "wrong_shape"
NO_PICTURE = "no_picture"
FROZEN_FRAME = "frozen_frame"
NO_ANSWER = "no_answer"
NOT_FINITE_ACTION = "not_finite_action"
LATE = "late"
REASONS: dict[str, str] = {
    NO_GOAL: "no goal is set",
    NO_FRAME: "no camera image has come yet",
    STALE_FRAME: "the newest image is older than max_frame_age_s",
    WRONG_SHAPE: "the image's sides have another ratio than the camera's, or its size has changed",
    NO_PICTURE: "the image is one even colour: a covered lens, or a camera that sees nothing",
    FROZEN_FRAME: "the arm has moved, the image has not: a driver that repeats itself",
    NO_ANSWER: "the policy gave no answer, or the server that computes it did not",
    FAR: "the goal is so far that it may be of another scene; three answers in a row decide",
    UNREACHABLE: "three answers in a row say that it is: the goal is refused",
    NOT_FINITE_ACTION: "the policy's action holds NaN or infinity",
    LATE: "the answer took longer than a control period",
}
