"""What the motors' registers say about them (Dynamixel X series, read through interbotix_ros_core's xs_sdk)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.robot import MotorHealth

ERRORS, TEMPERATURES, TORQUES = "Hardware_Error_Status", "Present_Temperature", "Torque_Enable"
VELOCITY, ACCELERATION = "Profile_Velocity", "Profile_Acceleration"  # of the arm's joints only
_ERROR_BITS = {
    0: "input voltage",
    2: "overheating",
    3: "encoder",
    4: "electrical shock or too little power",
    5: "overload",
}


class MotorRegisters:
    """The newest value of each register that counts, for all motors: the arm's joints, then the gripper."""

    def __init__(self, spec: RobotSpec, check_profile: bool = True) -> None:
        self._names = (*spec.joint_names, "gripper")
        control = spec.control
        self._profile = {
            VELOCITY: round(1000 * control.profile_moving_time_s),
            ACCELERATION: round(1000 * control.profile_accel_time_s),
        }
        self._check_profile = check_profile
        self._too_hot_c = spec.hardware.max_motor_temperature_c
        self._values: dict[str, tuple[int, ...]] = {}

    def update(self, register: str, values: Sequence[int]) -> None:
        self._values[register] = tuple(values)

    def health(self) -> MotorHealth:
        """Not ok where any motor is in error, too hot, without torque, or does not answer."""
        complaints = []
        for register, values in self._values.items():
            names = self._names[:-1] if register in self._profile else self._names
            if len(values) != len(names):
                # The driver leaves out what it could not read, and does not say which motor that was.
                complaints.append(
                    f"only {len(values)} of {len(names)} motors answer for {register}; one is in error or unplugged"
                )
                continue
            for name, value in zip(names, values):
                complaint = self._complaint(register, value)
                if complaint:
                    complaints.append(f"{name}: {complaint}")
        temperatures = self._values.get(TEMPERATURES, ())
        arm = len(self._names) - 1
        return MotorHealth(
            ok=not complaints,
            reason="; ".join(complaints),
            temperatures_c=np.array(temperatures[:arm], dtype=np.float64) if len(temperatures) > arm else None,
        )

    def _complaint(self, register: str, value: int) -> str:
        if register == ERRORS and value:
            named = [text for bit, text in _ERROR_BITS.items() if value >> bit & 1]
            return f"hardware error {value} ({', '.join(named) or 'unknown'})"
        if register == TEMPERATURES and value >= self._too_hot_c:
            return f"{value} C, allowed up to {self._too_hot_c:.0f} C; let it cool down"
        if register == TORQUES and not value:
            return "its torque is off"
        if self._check_profile and register in self._profile and value != self._profile[register]:
            return (
                f"{register} reads {value}, not {self._profile[register]}: driver or motor was restarted; start this "
                "node again"
            )
        return ""
