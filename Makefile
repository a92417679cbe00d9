# make demo   install what it needs, then drive the simulated arm to a goal image (SEED=n: another scene and goal)
# make test   install what it needs, then run the tests
# make setup  only create the environment (.venv) and build the ROS workspace
# make learn  setup, and what training needs (torch)
# make test-faults   what can fail is made to fail in the real processes, and timed (4 minutes, otherwise idle machine)
# make test-slow     what takes minutes: a million commands at the safety filter, fifty starts, a thousand lifecycles, learning (an hour)
# On a machine with several Pythons: make demo PYTHON=python3.11

SHELL := /bin/bash
.SHELLFLAGS := -e -o pipefail -c
PYTHON ?= python3
SEED ?=
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
WORKSPACE := $(CURDIR)/ros2_ws
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check
QUIETER := sed -u -e '/^Requirement already satisfied/d' -e '/^  Downloading .*metadata/d'
# Nothing of a ROS installation or another environment of the user's may leak into the build or the runs.
CLEAN_ENV := env -u PYTHONPATH -u PYTHONHOME -u AMENT_PREFIX_PATH -u COLCON_PREFIX_PATH -u CMAKE_PREFIX_PATH -u LD_LIBRARY_PATH \
	-u ROS_DISTRO -u RMW_IMPLEMENTATION -u _ROS_WHEELS_BOOTSTRAP_COMPLETE
CONSTRAINTS := requirements/constraints.txt requirements/ros-jazzy-constraints.txt
WORKSPACE_SOURCES := $(shell find ros2_ws/src -type f -not -name '*.pyc' -not -path '*.egg-info/*' 2>/dev/null)

.PHONY: demo test test-slow test-faults setup learn test-setup clean help
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# //p' Makefile | head -7

demo: setup
	@$(CLEAN_ENV) PATH="$(BIN):$$PATH" bash -c 'source ros2_ws/install/setup.bash && exec python -m mqe_bringup.demo $(if $(SEED),--seed $(SEED))'

test: test-setup
	$(CLEAN_ENV) PATH="$(BIN):$$PATH" python -m pytest

test-slow: test-setup
	$(CLEAN_ENV) PATH="$(BIN):$$PATH" python -m pytest -m slow

setup: $(STAMPS)/project ros2_ws/install/.built

# The processes are killed, starved and lied to; what was measured is in build/faults.md. A busy machine is a fault of its own.
test-faults: test-setup
	$(CLEAN_ENV) PATH="$(BIN):$$PATH" python -m pytest -m faults tests/ros/faults

learn: setup $(STAMPS)/learn

test-setup: setup $(STAMPS)/test build/interbotix/.built

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v <= (3, 12) else "needs Python 3.10 to 3.12, found %d.%d; name another: make $(MAKECMDGOALS) PYTHON=python3.11" % v)'
	@$(PYTHON) -c 'import ensurepip, sysconfig, pathlib, sys; sys.exit(None if (pathlib.Path(sysconfig.get_path("include")) / "Python.h").is_file() else "needs the Python headers: sudo apt install python3-venv python3-dev")' \
		|| { echo "needs Python with venv and headers: sudo apt install python3-venv python3-dev" >&2; exit 1; }
	@command -v g++ >/dev/null || { echo "needs a C++ compiler: sudo apt install g++" >&2; exit 1; }
	@echo "== creating $(VENV)"
	@$(CLEAN_ENV) $(PYTHON) -m venv $(VENV)
	@mkdir -p $(@D) && touch $@

# Deployment and simulation: no torch in it.
$(STAMPS)/runtime: requirements/runtime.txt requirements/data.txt requirements/sim.txt requirements/ros.txt $(CONSTRAINTS) | $(STAMPS)/venv
	@echo "== installing the runtime, the simulator and ROS 2 (wheels)"
	@$(CLEAN_ENV) $(PIP_INSTALL) -r requirements/data.txt -r requirements/sim.txt -r requirements/ros.txt | $(QUIETER)
	@touch $@

$(STAMPS)/project: setup.py pyproject.toml $(STAMPS)/runtime
	@echo "== installing this project (editable)"
	@$(CLEAN_ENV) $(PIP_INSTALL) -q --no-build-isolation --no-deps -e .
	@touch $@

# The stamp lies in the install folder, so that deleting that folder builds again.
ros2_ws/install/.built: $(WORKSPACE_SOURCES) $(STAMPS)/runtime
	@echo "== building the ROS workspace (colcon)"
	@cd $(WORKSPACE) && $(CLEAN_ENV) PATH="$(BIN):/usr/local/bin:/usr/bin:/bin" AMENT_PREFIX_PATH="$(VENV)" \
		MAKEFLAGS="-j$$(nproc)" \
		colcon build --symlink-install --event-handlers console_start_end+ console_stderr+ summary+ status-
	@touch $@

# Messages of the real arm's driver, for the tests of the hardware backend only.
build/interbotix/.built: $(shell find tests/ros/interbotix/messages -type f) $(STAMPS)/runtime
	@echo "== building the messages of the arm's driver, for the tests (colcon)"
	@mkdir -p $(@D)
	@$(CLEAN_ENV) PATH="$(BIN):/usr/local/bin:/usr/bin:/bin" AMENT_PREFIX_PATH="$(VENV)" MAKEFLAGS="-j$$(nproc)" \
		colcon --log-base $(@D)/log build --base-paths tests/ros/interbotix/messages --build-base $(@D)/build --install-base $(@D)/install \
		--event-handlers console_start_end+ console_stderr+ summary+ status-
	@touch $@

$(STAMPS)/learn: requirements/learn.txt $(STAMPS)/runtime
	@echo "== installing what training needs (torch among it)"
	@$(CLEAN_ENV) $(PIP_INSTALL) -r requirements/learn.txt | $(QUIETER)
	@touch $@

$(STAMPS)/test: requirements/test.txt $(STAMPS)/learn
	@echo "== installing what the tests need"
	@$(CLEAN_ENV) $(PIP_INSTALL) -r requirements/test.txt | $(QUIETER)
	@touch $@

clean:
	rm -rf .venv ros2_ws/build ros2_ws/install ros2_ws/log mqe.egg-info build .pytest_cache
