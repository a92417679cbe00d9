"""Tasks of the simulated WidowX250: start, goal, success and score of each."""
