"""Fair timings: the same inputs, threads and machine for every runtime, in interleaved rounds."""

from lowbit.bench.file import bench_file
from lowbit.bench.layers import bench_layers
from lowbit.bench.rounds import Timing, interleave
from lowbit.bench.tables import bench_text

__all__ = ["Timing", "bench_file", "bench_layers", "bench_text", "interleave"]
