"""What a run learned, told without a robot: measured on episodes that it did not see, and put on a page."""
