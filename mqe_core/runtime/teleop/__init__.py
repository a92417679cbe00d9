"""An operator's hands: what pads and keys mean, when they count, and the commands that come of them."""
