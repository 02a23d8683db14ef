"""Long runs and measurements, each started with ``python -m benchmarks.<name>``."""
