from glob import glob

from setuptools import find_packages, setup

package_name = "mqe_ros"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
        (f"share/{package_name}/config", glob("config/*")),
    ],
    install_requires=["setuptools"],
    extras_require={"test": ["pytest"]},
    zip_safe=True,
    maintainer="MQE maintainers",
    maintainer_email="maintainers@mqe.invalid",
    description="The nodes: policy, arm, camera, recorder and teleoperation",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "policy_node = mqe_ros.start:policy_node",
            "arm_node = mqe_ros.start:arm_node",
            "camera_node = mqe_ros.start:camera_node",
            "record_node = mqe_ros.start:record_node",
            "teleop_node = mqe_ros.start:teleop_node",
            "console_node = mqe_ros.start:console_node",
        ],
        "mqe.robots": ["hardware = mqe_ros.widowx_robot:WidowXRobot"],
        "mqe.cameras": ["opencv = mqe_ros.opencv_camera:OpenCvCamera"],
    },
)
