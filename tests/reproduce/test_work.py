"""In which order a table is trained."""

from pathlib import Path

import pytest

from lowbit.reproduce import Plan, read_table
from lowbit.reproduce.work import Job, _next, jobs


def lacking(name: str, out: Path, keys: set[str] | None = None) -> list[Job]:
    plan = Plan(name=name, table=read_table(name), budget="small", seeds=[0, 1], out=out)
    found, impossible = jobs(plan, [row for row in plan.rows if keys is None or row.key in keys])
    assert impossible == {}
    return found


def test_a_table_is_whole_for_one_seed_before_the_next_begins(tmp_path):
    found = lacking("boo-table4", tmp_path)
    assert [job.seed for job in found] == sorted(job.seed for job in found)
    assert len({job.folder for job in found}) == len(found) == 42


def test_a_row_brings_the_network_that_it_starts_from(tmp_path):
    found = lacking("boo-table4", tmp_path, {"w2a2-d14"})
    assert [(job.key, job.seed) for job in found] == [
        ("float-d14", 0),
        ("w2a2-d14", 0),
        ("float-d14", 1),
        ("w2a2-d14", 1),
    ]


def test_a_row_behind_a_row_behind_a_network_brings_both(tmp_path):
    found = lacking("boo-table4", tmp_path, {"w2a2-lip-clr-d14"})
    assert [job.key for job in found if job.seed == 0] == ["float-d14", "w2a2-lip-d14", "w2a2-lip-clr-d14"]


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_nothing_starts_from_a_network_that_is_not_there_yet(tmp_path, processes):
    waiting, running, finished = lacking("boo-table4", tmp_path), [], set()
    while waiting or running:
        while len(running) < processes and (job := _next(waiting, running)) is not None:
            assert job.recipe.start is None or Path(job.recipe.start) in finished
            waiting.remove(job)
            running.append(job)
        assert running
        finished.add(running.pop().folder)  # the youngest first: the hardest order
    assert len(finished) == 42


def test_no_process_waits_while_another_seed_can_begin(tmp_path):
    waiting = lacking("boo-table4", tmp_path, {"w2a2-d14"})
    first = waiting.pop(0)
    assert (first.key, first.seed) == ("float-d14", 0)
    following = _next(waiting, [first])
    assert following is not None
    assert (following.key, following.seed) == ("float-d14", 1)
