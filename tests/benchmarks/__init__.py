"""The benchmarks: `make bench` runs them, prints a table and writes `build/bench.json`."""
