"""Questions to a worker: why one was not answered, and what helps."""

from __future__ import annotations

import pytest

from vmops.core.facts.question import NO_PERL, PERL_CURE, Answers, Unanswered, block_of
from vmops.core.facts.vms import RUNNING
from vmops.core.script.command import BlockResult, StepResult


def unanswered(exit_code: int, stderr: str) -> Unanswered:
    """Why it is not known what runs, where this is what the worker says."""
    (step,) = block_of((RUNNING,)).numbered()
    result = BlockResult("", "done", (StepResult(step, exit_code, stderr=stderr.encode()),))
    with pytest.raises(Unanswered) as raised:
        Answers(result)[RUNNING]
    return raised.value


@pytest.mark.parametrize(
    ("exit_code", "stderr"),
    [
        (127, "vmops: 49: eval: perl: not found\n"),
        (127, "sh: 1: perl: not found\n"),
        (127, "bash: line 49: perl: command not found\n"),
        (127, "timeout: failed to run command ‘perl’: No such file or directory\n"),
        (127, "timeout: failed to run command 'perl': No such file or directory\n"),
        (127, "env: 'perl': No such file or directory\n"),
        (126, "vmops: 49: eval: perl: Permission denied\n"),
    ],
)
def test_a_missing_perl_is_named_with_its_cure(exit_code: int, stderr: str) -> None:
    error = unanswered(exit_code, stderr)
    assert (str(error), error.cure) == (NO_PERL, PERL_CURE)


@pytest.mark.parametrize(
    ("exit_code", "stderr"),
    [
        (2, "Can't open perl script /proc/self/fd/3: Permission denied\n"),
        (1, "superl: not found\n"),
        (127, "vmops: 49: eval: ovs-vsctl: not found\n"),
        (1, "perl: warning: Setting locale failed.\n"),
    ],
)
def test_other_failures_keep_their_own_words(exit_code: int, stderr: str) -> None:
    error = unanswered(exit_code, stderr)
    assert (str(error), error.cure) == (stderr.strip(), "")
