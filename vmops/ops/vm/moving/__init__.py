"""VMs that go from one worker to another."""
