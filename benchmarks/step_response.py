"""Fit of the sim's motor gain to the real motors' step response: python benchmarks/step_response.py

The real arm moves under Dynamixel's time profile (spec: moving and acceleration time). PyBullet's position control is
a first-order lag whose gain is the share of the error removed per physics step. For each gain this prints the root mean
square difference of the two responses to a 0.1 rad step of every joint, relative to the step, over the profile's
duration, and both responses after one control period.
"""

from __future__ import annotations

import numpy as np

import mqe_sim.arm
from mqe_core.robot.spec import load_robot_spec
from mqe_sim.arm import PHYSICS_HZ
from mqe_sim.world import World

STEP_RAD = 0.1


def profile(t: np.ndarray, moving_s: float, accel_s: float) -> np.ndarray:
    """Trapezoidal time profile from 0 to 1."""
    speed = 1.0 / (moving_s - accel_s)
    rising = 0.5 * speed / accel_s * t**2
    cruising = speed * (t - accel_s / 2)
    falling = 1.0 - 0.5 * speed / accel_s * (moving_s - np.minimum(t, moving_s)) ** 2
    return np.where(t < accel_s, rising, np.where(t < moving_s - accel_s, cruising, falling))


def response(world: World, joint: int, step_rad: float, steps: int) -> np.ndarray:
    """(steps,) measured response of one joint, relative to the step."""
    world.reset()
    start = world.spec.neutral_rad
    world.arm.command(start + step_rad * np.eye(6)[joint], 1.0)
    measured = []
    for _ in range(steps):
        world.advance_to(world.time_s + 1 / PHYSICS_HZ)
        measured.append((world.arm.joints()[joint] - start[joint]) / step_rad)
    return np.array(measured)


def main() -> None:
    spec = load_robot_spec()
    world = World(spec)
    moving, accel = spec.control.profile_moving_time_s, spec.control.profile_accel_time_s
    steps = round(moving * PHYSICS_HZ)
    wanted = profile(np.arange(1, steps + 1) / PHYSICS_HZ, moving, accel)
    at_period = round(spec.control.period_s * PHYSICS_HZ) - 1
    used = mqe_sim.arm.ARM_POSITION_GAIN
    print("| position gain | rms difference | after 0.2 s | profile after 0.2 s |\n|---|---|---|---|")
    for gain in (0.020, 0.025, 0.030, 0.035, 0.040, 0.060):
        mqe_sim.arm.ARM_POSITION_GAIN = gain
        curves = np.array([response(world, joint, sign * STEP_RAD, steps) for joint in range(6) for sign in (1, -1)])
        rms = float(np.sqrt(((curves - wanted) ** 2).mean()))
        mark = " (used)" if gain == used else ""
        print(f"| {gain:.3f}{mark} | {rms:.3f} | {curves[:, at_period].mean():.3f} | {wanted[at_period]:.3f} |")


if __name__ == "__main__":
    main()
