"""What hetagent is measured by: `python -m benchmarks.NAME --json FILE`."""
