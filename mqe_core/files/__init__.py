"""Files and folders of ours: what may be written where, how it is written, and how text in them is read."""
