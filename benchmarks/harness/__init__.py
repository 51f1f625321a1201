"""What the benchmarks share: processes to measure, what the kernel says of them, statistics, tables."""
