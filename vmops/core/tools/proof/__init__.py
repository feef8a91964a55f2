"""Looking into networks: probes, traces, captures, doors."""
