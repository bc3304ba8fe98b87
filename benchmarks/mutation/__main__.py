"""Break one line of the library at a time: does a test notice?

    python -m benchmarks.mutation [--seed 0] [--files scratchnet/ops/linear.py …] [--budget 60] [--jobs 2]

Mutation testing (DeMillo, Lipton & Sayward 1978). Every line of ops/, layers/, optimizers/, losses, module and
averaging that can be changed receives one change, drawn from changes.py. A copy of the project with this change runs
the tests that call the changed function, first those that bear its name, then the quick ones. If a test fails, the
mutant is killed; if --budget seconds of tests pass, it has survived. (More tests could only kill more.) The output is
the share killed and every survivor. A survivor in explained.txt means the same as the original, for the reason given
there.

Results are written to --log line by line. A stopped run continues from there if library and tests are the same.
"""

import argparse
import ast
import compileall
import contextlib
import hashlib
import importlib
import itertools
import json
import os
import pickle
import py_compile
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import hypothesis
import pytest

from benchmarks.mutation.changes import one_per_line

ROOT = Path(__file__).parents[2]
FILES = [path for pattern in ("ops/*", "losses", "module", "layers/*", "optimizers/*", "averaging")
         for path in sorted((ROOT / "scratchnet").glob(f"{pattern}.py"))]
for heavy in ("numpy", "torch", "matplotlib.pyplot", "safetensors.numpy"):  # once, not in every fork
    with contextlib.suppress(ImportError):
        importlib.import_module(heavy)
EXPLAINED = Path(__file__).with_name("explained.txt")
ERROR = 70  # exit code of a child that could not test
LIMIT = 120  # seconds for one test: a change can make a loop endless


class Watch:
    """A pytest plugin: which functions of the library each test calls, and how long it takes."""

    def __init__(self, copy):
        self.library, self.calls, self.seconds, self.failed = str(copy / "scratchnet"), {}, {}, []

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed.append(report.nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        called, start = set(), time.perf_counter()

        def note(frame, event, _):
            if event == "call" and frame.f_code.co_filename.startswith(self.library):
                called.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))
        sys.setprofile(note)
        try:
            return (yield)
        finally:
            sys.setprofile(None)
            self.calls[item.nodeid] = {(os.path.relpath(f, self.library), n) for f, n in called}
            self.seconds[item.nodeid] = time.perf_counter() - start


class Select:
    """A pytest plugin: run these tests only, in this order, each under a time limit; remember the one that failed."""

    def __init__(self, ordered):
        self.rank, self.killer = {test: i for i, test in enumerate(ordered)}, None

    def pytest_collection_modifyitems(self, items):
        items[:] = sorted((i for i in items if i.nodeid in self.rank), key=lambda i: self.rank[i.nodeid])

    def pytest_runtest_setup(self, item):
        self.killer = item.nodeid
        signal.alarm(LIMIT)


def run_tests(copy, arguments, plugin):
    """Exit code of pytest in a copy of the project, in this process."""
    os.chdir(copy)
    sys.path[:0] = [str(copy), str(copy / "tests")]
    os.environ["HYPOTHESIS_PROFILE"] = "mutation"
    hypothesis.settings.register_profile(
        "mutation", max_examples=8, deadline=None, derandomize=True, database=None,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck))
    return pytest.main(["-q", "-n0", "-p", "no:cacheprovider", "-p", "no:warnings", *arguments], plugins=[plugin])


def in_a_child(work):
    """The process id of a fork that runs work() silently and exits with the number it returns."""
    child = os.fork()
    if child == 0:
        code = ERROR
        try:
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1), os.dup2(silence, 2)
            code = work()
        finally:
            os._exit(int(code))
    return child


def copy_of_the_project(directory):
    """Copy the files that git tracks, as they are now, and compile them. A file whose content changes is recompiled."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, names.split("\0")):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, directory / name)
    compileall.compile_dir(directory, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    return directory


def watch(copy):
    """({test: functions it calls}, {test: seconds}) from one run of all tests of the unchanged library."""
    notes = copy / "notes.pickle"

    def work():
        plugin = Watch(copy)
        code = run_tests(copy, ["tests"], plugin)
        notes.write_bytes(pickle.dumps((plugin.calls, plugin.seconds, plugin.failed)))
        return code
    _, status = os.waitpid(in_a_child(work), 0)
    calls, seconds, failed = pickle.loads(notes.read_bytes())
    if status:
        raise SystemExit(f"the tests do not pass before anything is broken: {', '.join(failed) or 'nothing ran'}")
    return calls, seconds


def tests_of(function, module, calls, seconds, budget):
    """{file: tests} that call the function: first those with its name, then quick ones, as far as the budget goes."""
    chosen = [test for test, called in calls.items() if function and (module, function[1]) in called] or list(calls)
    chosen.sort(key=lambda test: (not function or function[0].strip("_") not in test, seconds[test]))
    spent = itertools.accumulate(seconds[test] for test in chosen)
    files = {}
    for test in [test for test, total in zip(chosen, spent, strict=True) if total < budget]:
        files.setdefault(test.split("::")[0], []).append(test)
    return files


def function_around(source, line):
    """(name, first line with its decorators) of the innermost function that holds the line, None outside of all."""
    best = None
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *[d.lineno for d in node.decorator_list]])
            if first <= line <= node.end_lineno and (best is None or first > best[1]):
                best = node.name, first
    return best


def mutants(files, seed):
    """{path, line, before, after, source} for every mutant."""
    for path in files:
        source = path.read_text()
        for line, change in one_per_line(source, seed).items():
            broken = change.of(source)
            yield {"path": str(path.relative_to(ROOT)), "line": line, "kind": change.kind,
                   "before": source.splitlines()[line - 1].strip(), "after": broken.splitlines()[line - 1].strip(),
                   "source": broken}


def examine(mutant, copy, calls, seconds, budget):
    """Start a child that tests the mutant in its own copy of the project. It exits with 1 for killed, 0 for survived,
    ERROR if pytest itself failed."""
    path = copy / mutant["path"]
    (copy / "killer").unlink(missing_ok=True)
    path.write_text(mutant["source"])
    function = function_around((ROOT / mutant["path"]).read_text(), mutant["line"])

    def work():
        module = os.path.relpath(mutant["path"], "scratchnet")
        for file, tests in tests_of(function, module, calls, seconds, budget).items():
            plugin = Select(tests)
            code = run_tests(copy, ["-x", "--tb=no", file], plugin)
            if code not in (0, 1, 2, 5):  # passed, failed, cannot be imported, no test left
                return ERROR
            if code in (1, 2):
                (copy / "killer").write_text(plugin.killer or f"importing {file}")
                return 1
        return 0
    return in_a_child(work)


def explained():
    """{(path, before, after): why} from explained.txt, which has blocks of four lines."""
    blocks = [[line.strip() for line in block.splitlines()] for block in EXPLAINED.read_text().split("\n\n") if block]
    return {(path, before, after): " ".join(why) for path, before, after, *why in blocks}


def digest():
    """Eight hexadecimal digits that change with the library or the tests."""
    sources = [*sorted((ROOT / "scratchnet").rglob("*.py")), *sorted((ROOT / "tests").glob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:8]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="which of the possible changes of a line is made")
    parser.add_argument("--files", type=Path, nargs="+", default=FILES)
    parser.add_argument("--budget", type=float, default=60, help="seconds of tests for one mutant; inf: all tests")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--log", type=Path, help="default: a name with the seed and a digest of library and tests")
    arguments = parser.parse_args()
    arguments.log = arguments.log or Path(f"mutants-{arguments.seed}-{digest()}.jsonl")
    done = {}
    if arguments.log.exists():
        done = {(r["path"], r["before"], r["after"], r["line"]): r for r in map(json.loads, arguments.log.open())}
    waiting, results = [], []
    for m in mutants([f.resolve() for f in arguments.files], arguments.seed):
        key = m["path"], m["before"], m["after"], m["line"]
        results.append(done[key]) if key in done else waiting.append(m)
    with tempfile.TemporaryDirectory() as home:
        if waiting:
            results += test_all(waiting, Path(home), arguments)
    report(results)


def test_all(waiting, home, arguments):
    """Examine all mutants in arguments.jobs copies of the project at once, log each result, and return them all."""
    free = [copy_of_the_project(home / str(i)) for i in range(arguments.jobs)]
    calls, seconds = watch(free[0])
    print(f"{len(calls)} tests pass on the unchanged library; {len(waiting)} mutants", flush=True)
    running, results = {}, []
    while waiting or running:
        while waiting and free:
            mutant, copy = waiting.pop(0), free.pop()
            running[examine(mutant, copy, calls, seconds, arguments.budget)] = mutant, copy, time.perf_counter()
        child, status = os.wait()
        mutant, copy, start = running.pop(child)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == ERROR:
            raise SystemExit(f"the tests could not be run on {mutant['path']}:{mutant['line']} {mutant['after']}")
        killer = copy / "killer"
        result = {k: v for k, v in mutant.items() if k != "source"} | {
            "killed": status != 0, "killer": killer.read_text() if killer.exists() else "time limit or crash",
            "seconds": round(time.perf_counter() - start, 1)}
        with arguments.log.open("a") as log:
            log.write(json.dumps(result) + "\n")
        print("killed  " if result["killed"] else "SURVIVED", f"{mutant['path']}:{mutant['line']}",
              mutant["after"], flush=True)
        results.append(result)
        shutil.copy(ROOT / mutant["path"], copy / mutant["path"])
        free.append(copy)
    return results


def report(results):
    """Print the share killed in each file and in all, and every survivor that is not explained."""
    reasons = explained()
    alive = [r for r in results if not r["killed"]]
    same = [r for r in alive if (r["path"], r["before"], r["after"]) in reasons]
    for path in sorted({r["path"] for r in results}):
        some = [r for r in results if r["path"] == path]
        print(f"{path:38} {sum(r['killed'] for r in some):4} of {len(some):4}")
    killed = len(results) - len(alive)
    print(f"killed {killed} of {len(results)} ({100 * killed / len(results):.1f} %); "
          f"survived {len(alive)}, of which explained {len(same)}")
    for r in alive:
        if r not in same:
            print(f"\n{r['path']}:{r['line']}\n    {r['before']}\n    {r['after']}")


if __name__ == "__main__":
    main()
