"""Robot specifications; read through mqe_core.robot.spec.load_robot_spec."""
