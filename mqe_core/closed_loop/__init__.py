"""A bundle on a robot or in a simulated task: evaluation, runs, reports. Above the runtime; loads no torch."""
