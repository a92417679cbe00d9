"""What is computed over all pairs of a batch, without a tensor of all pairs and coordinates."""
