"""One function on many items: the same results in the same order whoever does the work."""

import math
import os

import pytest

from boneray.core.errors import ConfigError, DataError
from boneray.datasets.workers import parse_part, run_cases, share

# `eval` is a function that any process can import, and its items can do anything
PID = "__import__('os').getpid()"
DIE = "__import__('os').kill(__import__('os').getpid(), 9)"
THREADS = "(__import__('numba').get_num_threads(), __import__('os').environ['OPENBLAS_NUM_THREADS'])"
ITEMS = [f"{n} ** 2" for n in range(23)]


def engines():
    return [("local", 1), ("local", 2), pytest.param("ray", 2, marks=pytest.mark.slow)]


@pytest.fixture
def has_engine(request):
    engine = request.getfixturevalue("engine")
    if engine == "ray":
        pytest.importorskip("ray", reason="the extra `scale` (ray) is not installed")


@pytest.mark.parametrize(("engine", "workers"), engines())
def test_everyone_gives_the_same_results_in_the_same_order(engine, workers, has_engine):
    seen = []

    def progress(items):
        for item in items:
            seen.append(item)
            yield item

    slow_first = ["__import__('time').sleep(0.5) or 0", *ITEMS[1:]]
    got = list(run_cases(eval, slow_first, workers=workers, engine=engine, progress=progress))
    assert got == [(item, n**2) for n, item in enumerate(slow_first)]
    assert seen == slow_first


@pytest.mark.parametrize(("engine", "workers"), engines()[1:])
def test_several_processes_work_with_one_thread_each(engine, workers, has_engine, monkeypatch):
    for name in ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    naps = [f"(__import__('time').sleep(0.2), {PID})[1]"] * 8
    pids = {pid for _, pid in run_cases(eval, naps, workers=workers, engine=engine)}
    assert len(pids) == 2 and os.getpid() not in pids
    assert [r for _, r in run_cases(eval, [THREADS] * 2, workers=workers, engine=engine)] == [(1, "1")] * 2
    assert "NUMBA_NUM_THREADS" not in os.environ  # our own threads are not touched


def test_parts_are_disjoint_and_make_up_the_whole():
    parts = [share(ITEMS, (i, 4)) for i in (1, 2, 3, 4)]
    assert [len(p) for p in parts] == [6, 6, 6, 5]
    assert sorted(item for part in parts for item in part) == sorted(ITEMS)
    assert [r for _, r in run_cases(eval, ITEMS, part=(2, 4))] == [1, 25, 81, 169, 289, 441]
    assert list(run_cases(eval, ITEMS[:1], part=(2, 2), workers=2)) == []
    assert parse_part("2/4") == (2, 4)


@pytest.mark.parametrize(("engine", "workers"), engines()[1:])
def test_an_item_that_kills_its_process_costs_one_item(engine, workers, has_engine):
    items = [*ITEMS[:5], DIE, *ITEMS[5:9]]
    got = dict(run_cases(eval, items, workers=workers, engine=engine, died=str.upper))
    assert got.pop(DIE) == DIE.upper()
    assert got == {item: n**2 for n, item in enumerate(ITEMS[:9])}


def test_without_a_word_for_it_a_killed_process_is_an_error():
    with pytest.raises(DataError, match=r"the process working on .*was killed twice"):
        list(run_cases(eval, [DIE, "1"], workers=2))


@pytest.mark.parametrize(("engine", "workers"), engines())
def test_an_exception_comes_through_as_it_is(engine, workers, has_engine):
    with pytest.raises(ValueError, match="negative"):  # perhaps before the others are done
        list(run_cases(math.factorial, [3, 4, -1, 5], workers=workers, engine=engine))


def test_nonsense_is_refused():
    for text in ("0/4", "5/4", "x", "1/0", "-1/2"):
        with pytest.raises(ConfigError, match="part"):
            parse_part(text)
    with pytest.raises(ConfigError, match=r"unknown engine 'rai'.*ray"):
        list(run_cases(eval, ITEMS, engine="rai"))
    with pytest.raises(ConfigError, match="0 workers cannot work"):
        list(run_cases(eval, ITEMS, workers=0))
