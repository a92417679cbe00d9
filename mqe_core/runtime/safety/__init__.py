"""What may reach a motor: the filter, its parts, and the robot behind it."""
