"""The benchmarks: the same work in the lab, done by vmops and the other ways, in turns."""
