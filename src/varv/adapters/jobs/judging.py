"""What came of a job: its end and its answer, as a result or as the one error that says why there is none."""

from __future__ import annotations

from varv.adapters.jobs import wire
from varv.adapters.jobs.process import JobProcess
from varv.adapters.jobs.watching import End
from varv.kernel import job_ends
from varv.kernel.errors import VarvError
from varv.kernel.executor import Finished, Limits
from varv.kernel.job_ends import Output, Subject
from varv.kernel.user_code import own_lines


def judged(subject: Subject, end: End, process: JobProcess, output: Output, limits: Limits) -> Finished:
    """Return what a job returned and took.

    Raises
    ------
    VarvError
        The one error that says why it returned nothing.
    """
    if end.why == "unwanted":
        raise job_ends.was_cancelled(subject)
    if (broken := _broken(subject, end, process, output, limits)) is not None:
        raise broken
    try:
        answered = process.answer(limits.result_bytes)
    except wire.Garbage as error:
        raise job_ends.sent_garbage(subject, output, str(error)) from None
    if answered is None:
        raise job_ends.exited(subject, output, 0)
    answer, value = answered
    if answer.too_large:
        raise job_ends.returned_too_much(subject, output, answer.too_large, limits.result_bytes)
    if answer.raised is not None:
        raise wire.raised(answer.raised)
    return Finished(value=value, output=output, cpu_s=end.cpu_s, peak_bytes=end.peak_bytes, wall_s=end.wall_s)


def _broken(
    subject: Subject, end: End, process: JobProcess, output: Output, limits: Limits
) -> VarvError | None:
    """Return the error of a job whose process did not end as it should."""
    if end.why == "memory":
        return job_ends.outgrew(subject, output, end.peak_bytes, limits.memory_bytes)
    if end.why == "processes":
        return job_ends.multiplied(subject, output, limits.n_processes)
    if end.why == "time":
        return job_ends.overran(subject, output, limits.time_s, own_lines(process.place()))
    if end.why == "unwatched" or end.status is None:
        return job_ends.lost_its_watch(subject, output)
    if end.status < 0:
        return job_ends.was_killed(subject, output, -end.status, own_lines(process.place()))
    return job_ends.exited(subject, output, end.status) if end.status else None
