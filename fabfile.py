"""Hands the tasks of vmops to fab."""

from vmops.tasks import ns

__all__ = ["ns"]
