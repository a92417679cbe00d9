"""One run trained by several processes: their group, what they share out, and how the end of one ends all."""
