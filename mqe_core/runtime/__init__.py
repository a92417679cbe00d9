"""What runs beside the robot: NumPy and onnxruntime only, no torch, no ROS."""
