"""What the agents are made of: layers, encoders, actors, values."""
