"""The simulated WidowX250: PyBullet world, camera, tasks, scripted oracle and data collection."""
