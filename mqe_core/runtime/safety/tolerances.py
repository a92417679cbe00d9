"""The tolerances that the safety filter and its neighbours share, each with its unit and why it is as large as it is.

None of them is a limit: limits stand in the robot file.
"""

from __future__ import annotations

# Any unit. A limit exceeded by less was kept: sums and products of a few hundred numbers near 1 err by 1e-13.
ROUNDING = 1e-9

# m and rad. What the joints reach may differ by as much from the pose that they were solved for. The closed form is
# exact to rounding; the iterative solution next to a joint's limit mostly is not, and is not taken then.
SAME_POSE = 1e-6

# m. The hand may be so much lower than where it was raised to: its origin by `SAME_POSE`, and at a lever of less than a
# metre its corners by as much again.
RAISED_HAND_M = 2.0 * SAME_POSE

# No unit: the entries of R Rᵀ - 1, for a rotation R that a sender rounded or computed in single precision. The filter
# goes on with the nearest exact rotation.
ORTHOGONAL = 1e-3

# No unit: the last row of a pose against (0, 0, 0, 1). It is written, not computed.
LAST_ROW = 1e-6

# m and rad. A pose of its own motions (homing, parking) counts as come to; where the next one begins does not matter.
ARRIVED_M, ARRIVED_RAD = 1e-4, 1e-3

# Periods. A deadline, or a frame, that is due in less is due now: at 5 Hz 0.2 microseconds.
DUE_PERIODS = 1e-6

# No unit: a step that is too long by a factor f is shortened to this part of 1/f. Joints move farther than in
# proportion near a singularity, and a second try costs more than the 2 %.
SHORTER = 0.98
