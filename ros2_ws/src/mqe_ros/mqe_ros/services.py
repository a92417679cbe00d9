"""Names of the services and of the action, once. Apart from the topics: who asks for a hold waits for no message types to load."""

HOLD = "/arm/hold"
RESUME = "/arm/resume"
HOME = "/arm/home"
REACH_GOAL = "/reach_goal"
