"""The way to a worker: the only importer of fabric.Connection and paramiko."""
