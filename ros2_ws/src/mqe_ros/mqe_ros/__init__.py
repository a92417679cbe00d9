"""ROS 2 nodes around mqe_core: callbacks convert messages and delegate."""
