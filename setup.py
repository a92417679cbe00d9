"""Packaging: `mqe_core` (the product), `mqe_sim` (the folder sim/) and the robot specs, with the `mqe` command."""

from setuptools import setup

setup(
    name="mqe",
    version="0.1.0",
    description="Multistep Quasimetric Estimation on a WidowX250: offline training, ONNX export, safe 5 Hz deployment on ROS 2",
    python_requires=">=3.10",
    packages=[
        "mqe_core",
        "mqe_core.commands",
        "mqe_core.data",
        "mqe_core.learning",
        "mqe_core.learning.agents",
        "mqe_core.runtime",
        "mqe_sim",
        "mqe_sim.oracles",
        "mqe_sim.tasks",
        "mqe_robot_configs",
    ],
    package_dir={"mqe_sim": "sim", "mqe_robot_configs": "robot_configs"},
    package_data={"mqe_robot_configs": ["*.yaml"], "mqe_core.learning": ["presets/*.yaml"]},
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
    ],  # fmt: skip
    # Ranges for other environments; requirements/ pins what `make` installs. ROS 2's packages are named in each package.xml.
    extras_require={
        "data": ["google-crc32c>=1.6", "protobuf>=5", "mcap>=1.2", "mcap-ros2-support>=0.5"],
        "sim": [
            'pybullet>=3.2.6; python_version < "3.12"',
            'pybullet-arm64>=3.2.7; python_version >= "3.12"',  # the fork that has a wheel for it
            "gymnasium>=1.0",
            "opencv-python-headless>=4.10",
            "imageio-ffmpeg>=0.5",
            "matplotlib>=3.9",
        ],
        "learn": ["torch>=2.6", "onnxscript>=0.3", "tensorboard>=2.18"],
    },
    license="Apache-2.0",
    entry_points={
        "console_scripts": ["mqe = mqe_core.cli:main"],
        # A command is a module with add_arguments(parser) and run(args); see mqe_core/cli.py.
        "mqe.commands": [
            "arm = mqe_core.commands.arm",
            "data = mqe_core.commands.data",
            "train = mqe_core.commands.train",
            "doctor = mqe_core.commands.doctor",
            "export = mqe_core.commands.export",
            "goal = mqe_core.commands.goal",
            "inspect = mqe_core.commands.inspect",
            "run = mqe_core.commands.run",
            "replay = mqe_core.commands.replay",
            "serve = mqe_core.commands.serve",
            "eval = mqe_core.commands.eval",
            "compare = mqe_core.commands.compare",
            "up = mqe_core.commands.up",
            "sim = mqe_sim.commands",
        ],
        # Backends: factories called as factory(spec, clock=clock, **options); see mqe_core/runtime/robot.py.
        "mqe.robots": ["mock = mqe_core.runtime.loopback:LoopbackRobot", "sim = mqe_sim.robot:BulletRobot"],
        "mqe.cameras": ["mock = mqe_core.replay:replay_camera", "sim = mqe_sim.robot:BulletCamera"],
        "mqe.scenes": ["sim = mqe_sim.scene:make_scene"],
    },
)
