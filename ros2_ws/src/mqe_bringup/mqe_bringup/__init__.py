"""Bring-up: which processes run for which arguments, and what starts them."""
