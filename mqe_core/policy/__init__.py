"""What travels between training and robot: the bundle with its contract, goal files, and what progress means."""
