"""What a machine must have to drive an arm, tried one by one: `mqe doctor`."""
