"""What the sandbox keeps untrusted code from, tried on this machine; a way that does not work here is skipped."""

import os
import shutil
import socket
import sys
import time
from pathlib import Path

import pytest

from tools.exercises import sandbox

PYTHON = [sys.executable, "-I", "-c"]
QUICK = sandbox.Limits(seconds=20)


@pytest.fixture(params=["bubblewrap", "unshare"])
def private(request):
    if not sandbox.works(request.param):
        program = {"bubblewrap": "bwrap", "unshare": "unshare"}[request.param]
        found = "user namespaces are not allowed" if shutil.which(program) else f"{program} is not installed"
        pytest.skip(f"{request.param} does not work here: {found}")
    return request.param


def attempt(job, expression, way, limits=QUICK):
    """Evaluate an expression in the sandbox; return what it printed: 'done', or the name of the error."""
    code = (f"import os, pathlib, socket\ntry:\n    value = {expression}\n    print('done', value)\n"
            "except BaseException as error:\n    print(type(error).__name__)")
    return sandbox.run([*PYTHON, code], job, limits, way).output.strip()


@pytest.mark.parametrize("way", ["unshare", "limits"])
def test_a_listening_host_is_reached_only_without_a_namespace(tmp_path, way):
    if not sandbox.works(way):
        pytest.skip(f"{way} does not work here")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        said = attempt(tmp_path, f"socket.create_connection(('127.0.0.1', {port}), 5) and 1", way)
    assert said == "done 1" if way == "limits" else said == "OSError"


def test_the_network_outside_cannot_be_reached(tmp_path, private):
    assert attempt(tmp_path, "socket.create_connection(('192.0.2.1', 80), 2)", private) == "OSError"


def test_home_and_other_submissions_cannot_be_read(tmp_path, private):
    job, other = tmp_path / "job", tmp_path / "other.ipynb"
    job.mkdir()
    other.write_text("another student's answer")
    (job / "link").symlink_to(other)
    assert attempt(job, f"open({str(other)!r}).read()", private) == "FileNotFoundError"
    assert attempt(job, "open('link').read()", private) == "FileNotFoundError"
    assert attempt(job, "os.listdir(os.path.expanduser('~'))", private) == "done []"
    hidden_tests = str(sandbox.ROOT / "notebooks")
    assert os.path.exists(hidden_tests)
    assert attempt(job, f"os.path.exists({hidden_tests!r})", private) == "done False"
    assert attempt(job, "open('/etc/shadow').read()", private) == "FileNotFoundError"


def test_nothing_outside_the_job_folder_can_be_written(tmp_path, private):
    for folder in (sandbox.ROOT / "genai_utils", Path(sys.prefix), Path("/usr"), Path("/")):
        assert attempt(tmp_path, f"pathlib.Path({str(folder / 'planted')!r}).write_text('x')", private) == "OSError"
        assert not (folder / "planted").exists()
    assert attempt(tmp_path, "pathlib.Path('answer').write_text('x')", private) == "done 1"
    assert (tmp_path / "answer").read_text() == "x"


def test_settings_of_the_host_kernel_cannot_be_written(tmp_path, private):
    assert attempt(tmp_path, "open('/proc/sys/kernel/core_pattern', 'r+')", private) in ("OSError", "PermissionError")


def test_other_processes_cannot_be_seen_and_new_namespaces_not_made(tmp_path, private):
    assert f"{os.getpid()}" not in attempt(tmp_path, "os.listdir('/proc')", private)
    for command in ["mount -t tmpfs none /tmp"] + ["unshare --user --map-root-user true"] * (private == "unshare"):
        assert attempt(tmp_path, f"os.system('{command} 2>/dev/null') and 'refused'", private) == "done refused"


@pytest.mark.parametrize("way", sandbox.WAYS)
def test_variables_of_the_caller_are_not_passed_on(tmp_path, monkeypatch, way):
    if not sandbox.works(way):
        pytest.skip(f"{way} does not work here")
    monkeypatch.setenv("SECRET_OF_THE_HOST", "1")
    assert attempt(tmp_path, "'SECRET_OF_THE_HOST' in os.environ", way) == "done False"


@pytest.mark.parametrize("way", sandbox.WAYS)
def test_five_gigabytes_cannot_be_allocated(tmp_path, way):
    if not sandbox.works(way):
        pytest.skip(f"{way} does not work here")
    assert attempt(tmp_path, "len(bytearray(5 << 30))", way) == "MemoryError"


@pytest.mark.parametrize("way", sandbox.WAYS)
def test_time_ends_the_command_and_all_that_it_started(tmp_path, way):
    if not sandbox.works(way):
        pytest.skip(f"{way} does not work here")
    code = ("import os, time\nif os.fork() == 0:\n    os.setsid()\nwhile True:\n"
            "    open(f'beat-{os.getsid(0)}', 'a').write('x')\n    time.sleep(0.05)")
    done = sandbox.run([*PYTHON, code], tmp_path, sandbox.Limits(seconds=1), way)
    assert done.stopped == "time" and done.seconds < 10
    beats = sorted(tmp_path.glob("beat-*"))
    assert len(beats) == 2
    sizes = [path.stat().st_size for path in beats]
    time.sleep(0.5)
    assert [path.stat().st_size for path in beats] == sizes


def test_processes_together_cannot_pass_the_memory(tmp_path):
    code = "import os, time\nfor _ in range(3): os.fork()\nkept = b'x' * (90 << 20)\ntime.sleep(15)"
    done = sandbox.run([*PYTHON, code], tmp_path, sandbox.Limits(seconds=15, memory=400))
    assert done.stopped == "memory"


def test_a_fork_bomb_and_a_full_disk_are_stopped(tmp_path):
    code = "import os, time\nfor _ in range(7): os.fork()\ntime.sleep(15)"
    assert sandbox.run([*PYTHON, code], tmp_path, sandbox.Limits(seconds=15, processes=40)).stopped == "processes"
    code = "import time\nfor i in range(9): open(str(i), 'wb').write(b'x' * (4 << 20))\ntime.sleep(15)"
    assert sandbox.run([*PYTHON, code], tmp_path, sandbox.Limits(seconds=15, disk=16)).stopped == "disk"


def test_a_result_that_is_a_link_a_pipe_or_missing_is_not_read(tmp_path):
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "missing"):
        with pytest.raises(ValueError, match=name):
            sandbox.read_back(tmp_path / name)


def test_cells_run_on_after_exit_crash_loop_and_memory():
    cells = ["x = 1", "exit()", "print(x)", "import os; os._exit(3)", "while True: pass", "bytearray(5 << 30)", "x"]
    outputs, notes, done = sandbox.execute(cells, sandbox.Limits(cell_seconds=2, seconds=90))
    first = [found[0] if found else {} for found in outputs]
    names = [output.get("ename", output.get("text", output.get("data"))) for output in first]
    assert names == [None, "DeadKernelError", "1\n", "DeadKernelError", "CellTimeoutError", "MemoryError",
                     {"text/plain": "1"}]
    assert [note.split(":")[0] for note in notes] == ["code cell 2", "code cell 4", "code cell 5"]
    assert done.returncode == 0 and not done.stopped


def test_a_cell_that_ignores_interrupts_costs_only_what_follows():
    loop = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    outputs, notes, done = sandbox.execute(["print(1)", loop, "print(2)"], sandbox.Limits(cell_seconds=1, seconds=12))
    assert outputs[0][0]["text"] == "1\n" and not (outputs[2] and outputs[2][0].get("text"))
    assert notes


def test_what_holds_is_said_in_words(monkeypatch):
    assert "NOT kept from: the network" in sandbox.describe("limits")
    assert "No network" in sandbox.describe("unshare")
    monkeypatch.setenv("GENAI_SANDBOX", "moat")
    with pytest.raises(ValueError, match="moat"):
        sandbox.chosen()
