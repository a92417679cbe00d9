"""Robot specifications; read through mqe_core.spec.load_robot_spec."""
