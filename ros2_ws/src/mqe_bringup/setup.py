from glob import glob

from setuptools import find_packages, setup

package_name = "mqe_bringup"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
        (f"share/{package_name}/launch", glob("launch/*.launch.py")),
        (f"share/{package_name}/rviz", glob("rviz/*.rviz")),
        (f"share/{package_name}/goals", glob("goals/*")),
        (f"share/{package_name}/policies", glob("policies/*")),
        (f"share/{package_name}/replay", glob("replay/*")),  # the episode that the mock's camera shows
    ],
    install_requires=["setuptools"],
    extras_require={"test": ["pytest"]},
    zip_safe=True,
    maintainer="MQE maintainers",
    maintainer_email="maintainers@mqe.invalid",
    description="Launch file, configuration, goal images and the shipped policy",
    license="Apache-2.0",
)
