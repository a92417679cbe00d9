"""Packaging: `mqe_core` (the product), `mqe_sim` (the folder sim/) and the robot specs, with the `mqe` command."""

import re
from pathlib import Path

from setuptools import setup

# Read, not imported: what mqe_core needs is not installed yet.
SOURCE = Path(__file__).with_name("mqe_core") / "__init__.py"
VERSION = re.search(r'^__version__ = "(.+?)"', SOURCE.read_text(encoding="utf-8"), re.MULTILINE)[1]

setup(
    name="mqe",
    version=VERSION,
    description="Multistep Quasimetric Estimation on a WidowX250: training, ONNX export, safe 5 Hz deployment on ROS 2",
    python_requires=">=3.10",
    packages=[
        "mqe_core",
        "mqe_core.closed_loop",
        "mqe_core.commands",
        "mqe_core.console",
        "mqe_core.data",
        "mqe_core.data.exports",
        "mqe_core.data.readers",
        "mqe_core.data.store",
        "mqe_core.doctor",
        "mqe_core.files",
        "mqe_core.learning",
        "mqe_core.learning.agents",
        "mqe_core.learning.export",
        "mqe_core.learning.networks",
        "mqe_core.learning.pairs",
        "mqe_core.learning.report",
        "mqe_core.learning.rows",
        "mqe_core.learning.run",
        "mqe_core.ogbench",
        "mqe_core.policy",
        "mqe_core.robot",
        "mqe_core.runtime",
        "mqe_core.runtime.bridge",
        "mqe_core.runtime.remote",
        "mqe_core.runtime.safety",
        "mqe_core.runtime.teleop",
        "mqe_sim",
        "mqe_sim.oracles",
        "mqe_sim.tasks",
        "mqe_robot_configs",
    ],
    package_dir={"mqe_sim": "sim", "mqe_robot_configs": "robot_configs"},
    package_data={
        "mqe_robot_configs": ["*.yaml"],
        "mqe_core.runtime.teleop": ["devices.yaml"],
        "mqe_core.console": ["static/*"],
        "mqe_core.learning": ["presets/*.yaml", "presets/tuned/*.yaml", "pairs/*.cpp"],
    },
    install_requires=[
        "numpy>=1.26,<2.3",
        "PyYAML>=6",
        "Pillow>=11",
        "onnx>=1.17",
        "onnxruntime>=1.20",
        "tqdm>=4.66",
        "pyzmq>=26",
        "msgpack>=1.1",
        "lz4>=4.3",
    ],
    # Ranges for other environments; requirements/ pins what `make` installs. ROS 2's packages are named in each
    # package.xml.
    extras_require={
        "data": ["google-crc32c>=1.6", "protobuf>=5", "mcap>=1.2", "mcap-ros2-support>=0.5"],
        "lerobot": ["av>=14", "pyarrow>=18"],
        "sim": [
            'pybullet>=3.2.6; python_version < "3.12"',
            'pybullet-arm64>=3.2.7; python_version >= "3.12"',  # the fork that has a wheel for it
            "gymnasium>=1.0",
            "opencv-python-headless>=4.10",
            "imageio-ffmpeg>=0.5",
            "matplotlib>=3.9",
        ],
        "console": ["nicegui>=3.14"],
        "ray": ["ray>=2.40"],
        "cuda": ["onnxruntime-gpu>=1.20"],  # in place of onnxruntime: both are one module
        "ogbench": ["ogbench>=1.2.1", "matplotlib>=3.9"],
        "learn": ["torch>=2.6", "onnxscript>=0.3", "tensorboard>=2.18"],
    },
    license="Apache-2.0",
    entry_points={
        "console_scripts": ["mqe = mqe_core.cli:main"],
        # Commands of other packages than mqe_core: see mqe_core/cli.py.
        "mqe.commands": ["sim = mqe_sim.commands"],
        # Backends: factories called as factory(spec, clock=clock, **options); see mqe_core/runtime/backends.py.
        "mqe.robots": ["mock = mqe_core.runtime.loopback:LoopbackRobot", "sim = mqe_sim.robot:BulletRobot"],
        "mqe.cameras": ["mock = mqe_core.closed_loop.stored_camera:replay_camera", "sim = mqe_sim.robot:BulletCamera"],
        "mqe.scenes": ["sim = mqe_sim.scene:make_scene"],
    },
)
