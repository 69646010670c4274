"""lowbit: train 1- to 8-bit networks, convert them without changing one answer, run them fast on a CPU."""

__version__ = "0.1.0"
