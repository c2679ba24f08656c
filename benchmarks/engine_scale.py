"""Classes of growing size graded by the engine: is the time linear, is the manager's memory flat?

    python benchmarks/engine_scale.py [--sizes 10 100 1000]

Each class repeats the honest submissions of the planted class of chapter 03 and is graded in a process of its own, as `autograder grade`
does it. Printed for each: wall time, the time of the engine's start (measured by a class of notebooks that cannot be read), the time of
a submission beyond that, and the most memory that the managing process had.
"""

import argparse
import multiprocessing
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from autograder.engine import scheduler
from autograder.engine.sandbox import Limits
from autograder.gradebook import by_engine, classroom, planted
from autograder.gradebook.ledger import Ledger
from autograder.release.chapters import find_chapter


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of the engine by size of the class.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--jobs", type=int, default=scheduler.default_jobs())
    chosen = parser.parse_args()
    print("submissions   seconds   start   s/submission   manager MiB", flush=True)
    for size in chosen.sizes:
        seconds, start, peak = measured(size, chosen.jobs)
        print(f"{size:11} {seconds:9.1f} {start:7.1f} {(seconds - start) / size:14.3f} {peak / 2**20:13.0f}", flush=True)


def measured(size: int, jobs: int) -> tuple[float, float, int]:
    """Seconds of the class, seconds of the start, bytes of the manager."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=manage, args=(theirs, size, jobs))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join()


def manage(answer: Connection, size: int, jobs: int) -> None:
    chapter = find_chapter("03")
    people = planted.honest_class(planted.read_chapter(chapter), size)
    with tempfile.TemporaryDirectory(prefix="scale-") as scratch:
        rooms = []
        for name, members in (("start", [replace(people[0], student=f"s{lane}", text="") for lane in range(jobs)]), ("class", people)):
            folder = Path(scratch) / name
            classroom.create(folder, [chapter.number], quiet=True)
            planted.write_class(members, folder, chapter.slug)
            rooms.append((classroom.open_class(folder), [item.student for item in members]))
        del people
        took, statuses = [], set()
        Path("/proc/self/clear_refs").write_text("5")  # what is measured from here on is grading, not the making of the class
        for room, names in rooms:
            book, runner = Ledger(room.folder), by_engine.Runner(room, True, Limits())
            todo, begun = [(name, chapter.slug) for name in names], time.monotonic()
            with closing(runner.run(todo, book.forget, lambda result, book=book: book.keep(result, ""), jobs)) as results:
                statuses = {result.status for result in results}
            took.append(time.monotonic() - begun)
        if statuses != {"graded"}:
            raise SystemExit(f"every submission of this class can be graded, but some ended as {sorted(statuses - {'graded'})}")
        answer.send((took[1], took[0], _most_memory()))


def _most_memory() -> int:
    """Bytes that this process had in memory at most, since that was last forgotten."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
