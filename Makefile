# make demo   install what it needs, then drive the simulated arm to a goal image (SEED=n: another scene and goal)
# make test   install what it needs, then run the tests
# make setup  only create the environment (.venv) and build the ROS workspace
# make learn  setup, and what training needs (torch)
# make test-faults   what can fail is made to fail in the real processes, and timed (7 minutes, otherwise idle machine)
# make test-browser  the operator's page in a Chromium of this machine (sudo apt install chromium)
# make screenshots   the pages' pictures of that page, into docs/assets
# make check  lint, format, types, import rules, the docs' links and commands (part of `make test`)
# make docs   build the documentation as a site, strictly, into build/site
# make test-slow     what takes minutes: a million commands at the safety filter, fifty starts, learning (an hour)
# make bench-ogbench the comparison on OGBench, run by run (20 hours; Ctrl-C, and the same command goes on)
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
# One line for each step; all that it says is in the file that comes first.
QUIETLY := $(PYTHON) requirements/quietly.py build/log
# Nothing of a ROS installation or another environment of the user's may leak into the build or the runs.
CLEAN_ENV := env -u PYTHONPATH -u PYTHONHOME -u AMENT_PREFIX_PATH -u COLCON_PREFIX_PATH -u CMAKE_PREFIX_PATH \
	-u LD_LIBRARY_PATH -u ROS_DISTRO -u RMW_IMPLEMENTATION -u _ROS_WHEELS_BOOTSTRAP_COMPLETE
COLCON_ENV = PATH="$(BIN):/usr/local/bin:/usr/bin:/bin" AMENT_PREFIX_PATH="$(VENV)" MAKEFLAGS="-j$$(nproc)"
COLCON_SAYS := --event-handlers console_start_end+ console_stderr+ summary+ status-
CONSTRAINTS := requirements/constraints.txt requirements/ros-jazzy-constraints.txt
WORKSPACE_SOURCES := $(shell find ros2_ws/src -type f -not -name '*.pyc' -not -path '*.egg-info/*' 2>/dev/null)

.PHONY: bench-ogbench demo test test-slow test-faults test-browser screenshots \
	setup learn test-setup lint typed check docs clean help
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# //p' Makefile | head -12

demo: setup
	@$(CLEAN_ENV) PATH="$(BIN):$$PATH" bash -c \
		'source ros2_ws/install/setup.bash && exec python -m mqe_bringup.demo $(if $(SEED),--seed $(SEED))'

# In up to four processes, but for the tests of the ROS graph, which are about time. Both passes run, whatever the first
# one finds.
test: lint
	@$(CLEAN_ENV) PATH="$(BIN):$$PATH" bash -c 'passed=true; \
		python -m pytest -n logical --maxprocesses 4 --dist loadgroup --ignore tests/ros || passed=false; \
		python -m pytest tests/ros || passed=false; \
		$$passed'

lint: test-setup typed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# mypy and the site look for packages under their import names; two of ours lie in folders of other names.
typed:
	@mkdir -p build/typed
	@ln -sfn ../../sim build/typed/mqe_sim
	@ln -sfn ../../robot_configs build/typed/mqe_robot_configs

check: lint
	$(CLEAN_ENV) PATH="$(BIN):$$PATH" python -m pytest tests/house tests/docs

# The pages on the code are made from docstrings, which are read without importing anything. Nothing is fetched.
docs: $(STAMPS)/docs typed
	@$(CLEAN_ENV) NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "build/site/index.html; with its search: $(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site"

test-slow: test-setup
	$(CLEAN_ENV) PATH="$(BIN):$$PATH" python -m pytest -m "slow and not browser"

setup: $(STAMPS)/project ros2_ws/install/.built

# The processes are killed, starved and lied to; what was measured is in build/faults.md. A busy machine is a fault of
# its own.
test-faults: test-setup
	$(CLEAN_ENV) PATH="$(BIN):$$PATH" python -m pytest -m faults tests/ros/faults

# Where no Chromium is found, the tests are skipped and say what to install.
test-browser: test-setup $(STAMPS)/browser
	$(CLEAN_ENV) PATH="$(BIN):$$PATH" python -m pytest -m "browser and not slow" tests/browser

screenshots: test-setup $(STAMPS)/browser
	$(CLEAN_ENV) PATH="$(BIN):$$PATH" MQE_SCREENSHOTS=docs/assets python -m pytest -m browser tests/browser/test_in_sim.py

learn: setup $(STAMPS)/learn

bench-ogbench: learn $(STAMPS)/ogbench
	$(CLEAN_ENV) PATH="$(BIN):$$PATH" python -m benchmarks.ogbench_runs
	$(CLEAN_ENV) PATH="$(BIN):$$PATH" python -m benchmarks.ogbench_table

test-setup: setup $(STAMPS)/test build/interbotix/.built

# PYTHON counts while the environment is made; asking for another one later is refused, not ignored.
python_of = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>&1)
ifeq ($(origin PYTHON),command line)
ifneq ($(wildcard $(BIN)/python),)
ifneq ($(call python_of,$(PYTHON)),$(call python_of,$(BIN)/python))
$(error .venv has Python $(call python_of,$(BIN)/python), $(PYTHON) is $(call python_of,$(PYTHON)): make clean first)
endif
endif
endif

$(STAMPS)/venv:
	@$(PYTHON) requirements/check_python.py || { echo "or another one: make PYTHON=python3.11" >&2; exit 1; }
	@command -v g++ >/dev/null || { echo "needs a C++ compiler: sudo apt install g++" >&2; exit 1; }
	@$(CLEAN_ENV) $(QUIETLY)/venv.log "creating $(VENV)" $(PYTHON) -m venv $(VENV)
	@mkdir -p $(@D) && touch $@

# Deployment and simulation: no torch in it.
$(STAMPS)/runtime: $(addprefix requirements/,runtime.txt data.txt sim.txt ros.txt) $(CONSTRAINTS) | $(STAMPS)/venv
	@$(CLEAN_ENV) $(QUIETLY)/runtime.log "installing the runtime, the simulator and ROS 2 (wheels)" \
		$(PIP_INSTALL) -r requirements/data.txt -r requirements/sim.txt -r requirements/ros.txt
	@touch $@

$(STAMPS)/project: setup.py pyproject.toml $(STAMPS)/runtime
	@$(CLEAN_ENV) $(QUIETLY)/project.log "installing this project (editable)" \
		$(PIP_INSTALL) --no-build-isolation --no-deps -e .
	@touch $@

# The stamp lies in the install folder, so that deleting that folder builds again.
ros2_ws/install/.built: $(WORKSPACE_SOURCES) $(STAMPS)/runtime
	@$(CLEAN_ENV) $(QUIETLY)/workspace.log "building the ROS workspace (colcon)" \
		env -C $(WORKSPACE) $(COLCON_ENV) colcon build --symlink-install $(COLCON_SAYS)
	@touch $@

# Messages of the real arm's driver, for the tests of the hardware backend only.
build/interbotix/.built: $(shell find tests/ros/interbotix/messages -type f) $(STAMPS)/runtime
	@mkdir -p $(@D)
	@$(CLEAN_ENV) $(QUIETLY)/interbotix.log "building the messages of the arm's driver, for the tests (colcon)" \
		env $(COLCON_ENV) colcon --log-base $(@D)/log build --base-paths tests/ros/interbotix/messages \
		--build-base $(@D)/build --install-base $(@D)/install $(COLCON_SAYS)
	@touch $@

$(STAMPS)/learn: requirements/learn.txt $(STAMPS)/runtime
	@$(CLEAN_ENV) $(QUIETLY)/learn.log "installing what training needs (torch among it)" \
		$(PIP_INSTALL) -r requirements/learn.txt
	@touch $@

$(STAMPS)/ogbench: requirements/ogbench.txt requirements/constraints.txt $(STAMPS)/learn
	@$(CLEAN_ENV) $(QUIETLY)/ogbench.log "installing OGBench's environments" $(PIP_INSTALL) -r requirements/ogbench.txt
	@touch $@

$(STAMPS)/browser: requirements/browser.txt requirements/constraints.txt $(STAMPS)/test
	@$(CLEAN_ENV) $(QUIETLY)/browser.log "installing what drives a browser" $(PIP_INSTALL) -r requirements/browser.txt
	@touch $@

$(STAMPS)/docs: requirements/docs.txt requirements/constraints.txt | $(STAMPS)/venv
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "the site needs Python 3.11: make clean, then make docs PYTHON=python3.11" >&2; exit 1; }
	@$(CLEAN_ENV) $(QUIETLY)/docs.log "installing what builds the site" $(PIP_INSTALL) -r requirements/docs.txt
	@touch $@

$(STAMPS)/test: $(addprefix requirements/,lerobot.txt test.txt check.txt docs.txt ogbench.txt console.txt) \
		$(STAMPS)/learn
	@$(CLEAN_ENV) $(QUIETLY)/test.log "installing what the tests need" $(PIP_INSTALL) -r requirements/test.txt
	@touch $@

clean:
	rm -rf .venv ros2_ws/build ros2_ws/install ros2_ws/log mqe.egg-info build .pytest_cache
