"""How a real arm shows on this machine: by its driver's package, and by its serial device."""

from __future__ import annotations

from pathlib import Path

DRIVER_MODULE = "interbotix_xs_modules"
SERIAL_DEVICE = Path("/dev/ttyDXL")  # the name of the arm's U2D2 by Interbotix's udev rules
