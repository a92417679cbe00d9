"""The force loop of the gripper: its motor takes a PWM, not a position.

The law is bridge_data_robot's (custom_gripper_controller.py): full force from a few millimetres of error on.
That one never lets up, and a motor that squeezes something hard trips its overload protection and then drops
it; here the force falls to a bounded one once the fingers have stood still for a while.
"""

from __future__ import annotations

import math

from mqe_core.robot.spec import RobotSpec


class GripperLoop:
    """Call `pwm` at `spec.hardware.gripper_loop_hz`. Positive opens."""

    def __init__(self, spec: RobotSpec) -> None:
        self._hardware = spec.hardware
        self._closing: bool | None = None
        self._rest_m = math.nan  # where the fingers were when they last moved
        self._rest_since = -math.inf
        self._pwm = 0.0

    def pwm(self, wanted_m: float, position_m: float, now: float, gently: bool = False) -> float:
        """The PWM for fingers at `position_m` that are wanted at `wanted_m` (finger slide, metres); `gently`: never
        more than the holding force.

        An unknown position (NaN) keeps the last force, at most the bounded one: opening blindly would drop
        what is held, pushing blindly would burn the motor.
        """
        hardware = self._hardware
        if not math.isfinite(position_m):
            self._pwm = math.copysign(min(abs(self._pwm), hardware.gripper_hold_pwm), self._pwm)
            return self._pwm
        moved = not abs(position_m - self._rest_m) < hardware.gripper_still_m
        closing = wanted_m < position_m
        # A wanted position that only fluctuates is no new grip.
        if moved or closing != self._closing:
            self._rest_m, self._rest_since, self._closing = position_m, now, closing
        stalled = now - self._rest_since > hardware.gripper_stall_time_s
        limit = hardware.gripper_hold_pwm if stalled or gently else hardware.gripper_max_pwm
        wish = hardware.gripper_max_pwm * hardware.gripper_gain_per_m * (wanted_m - position_m)
        self._pwm = min(max(wish, -limit), limit)
        return self._pwm
