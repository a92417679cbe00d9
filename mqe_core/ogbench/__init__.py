"""OGBench (Park et al., 2025): its data sets, environments, evaluation and data generation.

Reading data needs numpy alone; environments and generation need the package `ogbench` (the extra of that name).
"""
