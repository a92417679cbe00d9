"""From a finished run to a policy bundle."""
