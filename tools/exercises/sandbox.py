"""Run a student's notebook away from everything else: python -m tools.exercises.sandbox prints what holds here.

Three ways, the first that works is taken (GENAI_SANDBOX=bubblewrap, unshare or limits insists on one):
bubblewrap and unshare give the code its own view of the machine: a read-only system, this Python and genai_utils, an
empty home, a temporary folder, one job folder; no network, no other process, none of the host's folders. limits gives
limits on time, memory, processes and files only, and an empty home: the code can read what you can, and use the net.

The sandbox protects the host and the other students. It does not protect a student's own mark: hidden tests run in
the same kernel as the student's code, which can replace functions they call, read their text from the traceback or from
memory, or write the outputs that are read back. tools/exercises/grade.py flags what it can see of this.
"""

import argparse
import dataclasses
import functools
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WAYS = ("bubblewrap", "unshare", "limits")
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
ETC = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")
BIGGEST_RESULT = 64 << 20   # bytes of an executed notebook that are read back
SETUP = r"""
set -e
root=$1; job=$2; disk=$3; shift 3
mount -t tmpfs -o mode=755,size=16m tmpfs "$root"
mkdir -p "$root/dev/shm" "$root/tmp" "$root/home/student"      # before what may lie below them, such as a clone in /tmp
for place in tmp home/student dev/shm; do mount -t tmpfs -o mode=1777,size="$disk" tmpfs "$root/$place"; done
while [ "$1" != -- ]; do
    if [ -L "$1" ]; then mkdir -p "$root$(dirname "$1")"; ln -s "$(readlink "$1")" "$root$1"
    else
        if [ -d "$1" ]; then mkdir -p "$root$1"; else mkdir -p "$root$(dirname "$1")"; : > "$root$1"; fi
        mount --rbind "$1" "$root$1"; mount -o remount,bind,ro,nosuid,nodev "$root$1"
    fi
    shift
done
shift
mkdir -p "$root/proc" "$root/job" "$root/etc" "$root/old"
echo 'student:x:1000:1000::/home/student:/bin/sh' > "$root/etc/passwd"
echo 'student:x:1000:' > "$root/etc/group"
mount -t proc proc "$root/proc"
echo 1 > "$root/proc/sys/user/max_user_namespaces"
for place in sys sysrq-trigger irq bus fs acpi scsi; do    # root of the host may write there without any capability
    if [ -e "$root/proc/$place" ]; then
        mount --bind "$root/proc/$place" "$root/proc/$place"; mount -o remount,bind,ro "$root/proc/$place"
    fi
done
for device in null zero full random urandom; do
    : > "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"
done
mount --bind "$job" "$root/job"
cd "$root"
pivot_root . old
cd /job
umount -l /old
mount -o remount,ro /
exec unshare --user --mount --map-user=1000 --map-group=1000 setpriv --no-new-privs -- "$@"
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What one notebook may use."""
    seconds: float = 300        # the whole notebook, by the clock; also processor seconds of each process
    cell_seconds: float = 60    # one cell; it is interrupted, and the next cells go on
    memory: int = 4096          # MiB of address space of each process, and of resident memory of all together
    processes: int = 128        # at one time (threads are not counted)
    disk: int = 256             # MiB of one file, and of the job folder; of each temporary place


@dataclasses.dataclass(frozen=True)
class Result:
    """How a command ended: `stopped` is empty, or the limit that it passed: time, memory, processes or disk."""
    returncode: int
    seconds: float
    stopped: str
    output: str


def readable():
    """Folders that the code may read: the system, this Python, genai_utils, this file, the data of GENAI_DATA."""
    wanted = [*SYSTEM, *ETC, sys.prefix, sys.base_prefix, ROOT / "genai_utils", Path(__file__).resolve()]
    if os.environ.get("GENAI_DATA"):
        wanted.append(Path(os.environ["GENAI_DATA"]).resolve())
    wanted += [Path(path).resolve() for path in wanted[-5:] if os.path.islink(path)]    # .venv may be a link
    found = sorted({str(path) for path in wanted if os.path.lexists(path)}, key=lambda p: (p.count("/"), p))
    inside = lambda p: any(p.startswith(q + "/") for q in found)     # /usr/lib/python3 is in /usr already
    return [path for path in found if not inside(path)]


def environment(home, temporary):
    """The few variables that the code sees; nothing else of the caller's environment goes in."""
    kept = {name: os.environ[name] for name in ("GENAI_DATA", "LANG") if os.environ.get(name)}
    if "GENAI_DATA" in kept:
        kept["GENAI_DATA"] = str(Path(kept["GENAI_DATA"]).resolve())
    return kept | {
        "PYTHONPATH": str(ROOT),     # this genai_utils, wherever another one may be installed
        "PATH": f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": home, "TMPDIR": temporary, "USER": "student",
        "GENAI_QUICK": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1", "MALLOC_ARENA_MAX": "2", "IPYTHONDIR": f"{temporary}/ipython",
    }


def prefix(way, job, root, limits):
    """The words to put before a command so that it runs in the sandbox `way`, with `job` as its folder."""
    if way == "bubblewrap":
        words = ["bwrap", "--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "1000", "--die-with-parent",
                 "--new-session", "--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs",
                 "/home/student"]
        for place in ("sys", "sysrq-trigger", "fs", "acpi", "scsi"):    # what root may write there, whatever namespace
            words += ["--ro-bind-try", f"/proc/{place}", f"/proc/{place}"]
        for path in readable():
            words += ["--symlink", os.readlink(path), path] if os.path.islink(path) else ["--ro-bind", path, path]
        return [*words, "--bind", str(job), "/job", "--remount-ro", "/", "--chdir", "/job", "--"]
    if way == "unshare":
        return ["unshare", "--user", "--map-root-user", "--mount", "--net", "--ipc", "--uts", "--pid", "--fork",
                "--kill-child", "sh", "-c", SETUP, "sandbox", str(root), str(job), f"{limits.disk}m", *readable(), "--"]
    return []


def usage(parent):
    """({process: start time}, resident MiB) of everything that descends from `parent`, itself included."""
    children, pages, born = {}, {}, {}
    for entry in os.scandir("/proc") if os.path.isdir("/proc/self") else ():
        if entry.name.isdigit():
            try:
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
            except OSError:     # it ended meanwhile
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
            pages[int(entry.name)], born[int(entry.name)] = int(fields[21]), fields[19]
    found, waiting = [], [parent]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    resident = sum(pages.get(pid, 0) for pid in found) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return {pid: born[pid] for pid in found if pid in born}, resident


def size(folder):
    """MiB of the files below a folder."""
    return sum(os.lstat(os.path.join(at, name)).st_blocks * 512 for at, _, names in os.walk(folder)
               for name in names if os.path.lexists(os.path.join(at, name))) / 2**20


def restrict(limits):
    """Set the limits of the process that is about to become the command; its children inherit them."""
    import resource

    for name, value in (("AS", limits.memory << 20), ("CPU", int(limits.seconds) + 5), ("FSIZE", limits.disk << 20),
                        ("CORE", 0), ("NOFILE", 1024)):
        hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
        except (ValueError, OSError):   # macOS refuses RLIMIT_AS; the resident memory is still watched
            pass


def run(command, job, limits=None, way=None):
    """Run `command` (a list) in the sandbox, with the folder `job` as the only place of the host that it can write.

    In bubblewrap and unshare the folder is seen as /job; with limits it keeps its name; it is the current folder.
    Everything that the command started is ended with it, also what it left behind.
    """
    limits, way, job = limits or Limits(), way or chosen(), Path(job).resolve()
    with tempfile.TemporaryDirectory(prefix="sandbox-") as scratch:
        private = way != "limits"
        home = "/home/student" if private else os.path.join(scratch, "home")
        temporary = "/tmp" if private else os.path.join(scratch, "tmp")
        for folder in (os.path.join(scratch, name) for name in ("root", "home", "tmp")):
            os.mkdir(folder)
        log = Path(scratch, "log")
        started = time.monotonic()
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [*prefix(way, job, os.path.join(scratch, "root"), limits), *map(str, command)], cwd=job,
                stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, env=environment(home, temporary),
                start_new_session=True, preexec_fn=functools.partial(restrict, limits))
        stopped, seen = "", {}
        try:
            while process.poll() is None and not stopped:
                time.sleep(0.05 if time.monotonic() - started < 1 else 0.25)
                now, resident = usage(process.pid)
                seen.update(now)
                over = {"time": time.monotonic() - started > limits.seconds, "memory": resident > limits.memory,
                        "processes": len(now) > limits.processes, "disk": size(job) > limits.disk}
                stopped = next((name for name, passed in over.items() if passed), "")
        finally:
            end(process, seen | usage(process.pid)[0])
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 20_000))
            text = stream.read().decode(errors="replace")
        return Result(process.returncode, time.monotonic() - started, stopped, text)


def end(process, started):
    """End the command and what it started (`started`: process -> start time, since numbers are used again).

    In a namespace of its own, the death of the first process ends all the others.
    """
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    for pid, born in started.items():
        if pid != process.pid and usage(pid)[0].get(pid) == born:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
    process.wait()


@functools.cache
def works(way):
    """Whether a sandbox can be made this way here, found by trying it."""
    if way == "limits":
        return True
    if not shutil.which("bwrap" if way == "bubblewrap" else "unshare") or not sys.platform.startswith("linux"):
        return False
    with tempfile.TemporaryDirectory(prefix="sandbox-") as job:
        code = "open('here', 'w').write('yes')"
        done = run([sys.executable, "-I", "-c", code], job, Limits(seconds=20), way)
        return done.returncode == 0 and Path(job, "here").exists()


def chosen():
    """The way that is used here; raises ValueError when GENAI_SANDBOX insists on one that does not work."""
    wanted = os.environ.get("GENAI_SANDBOX", "")
    if not wanted:
        return next(way for way in WAYS if works(way))
    if wanted not in WAYS:
        raise ValueError(f"GENAI_SANDBOX must be one of {', '.join(WAYS)}, got {wanted!r}")
    if not works(wanted):
        raise ValueError(f"GENAI_SANDBOX={wanted}, but that does not work on this machine; unset it, or install it")
    return wanted


def describe(way=None, limits=None):
    """In words, what holds now and what does not."""
    way, limits = way or chosen(), limits or Limits()
    common = (f"At most {limits.seconds:g} s for a notebook, {limits.cell_seconds:g} s for a cell, "
              f"{limits.memory} MiB, {limits.processes} processes, {limits.disk} MiB of files. ")
    if way == "limits":
        return ("Sandbox: limits only (neither bubblewrap nor unshare works here). " + common + "Empty home, but NOT "
                "kept from: the network, your files, other submissions, other processes of yours. Grade only code of "
                "people you trust, or grade on a machine with nothing else on it. Cure: install bubblewrap.")
    return (f"Sandbox: {way}. " + common + "No network, an empty home, a read-only system; not visible: your files, "
            "other submissions, other processes, the gradebook, the notebook with the solutions. Not prevented: a "
            "student's code can still read or mislead the tests that run in its own kernel (its own mark); suspicious "
            "code is flagged. The memory of all processes together is watched four times a second, not capped.")


def read_back(path):
    """The text of a file that untrusted code may have replaced: a plain file of bounded size, or ValueError."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ValueError(f"{Path(path).name}: {error.strerror}") from None
    with os.fdopen(handle, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{Path(path).name}: not a plain file")
        data = stream.read(BIGGEST_RESULT + 1)
    if len(data) > BIGGEST_RESULT:
        raise ValueError(f"{Path(path).name}: larger than {BIGGEST_RESULT >> 20} MiB")
    return data.decode("utf-8", errors="replace")


def execute(cells, limits=None, way=None):
    """Run code cells (a list of texts) as a notebook; return (outputs per cell, notes, Result).

    outputs[i] is a list of notebook outputs, or None when cell i was not run to its end. A cell that ends the kernel
    (exit, a crash, too much memory) gets an error; a new kernel repeats the cells before it, without it, and goes on.
    notes: lines for a person, one per such event.
    """
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="job-") as job:
        Path(job, "cells.json").write_text(json.dumps({"cells": cells, "cell_seconds": limits.cell_seconds}))
        done = run([sys.executable, "-I", Path(__file__).resolve(), "--inside"], job, limits, way)
        try:
            answer = json.loads(read_back(Path(job, "outputs.json")))
            outputs = [answer["outputs"].get(str(i)) for i in range(len(cells))]
            notes = [str(line)[:300] for line in answer["notes"][:20]]
            if not all(found is None or isinstance(found, list) for found in outputs):
                raise TypeError("outputs are no lists")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            outputs, notes = [None] * len(cells), [f"nothing could be read back: {error}"[:300]]
    if done.stopped:
        where = next((i for i, found in enumerate(outputs, start=1) if found is None), "(none)")
        notes.append(f"stopped: over the limit of {done.stopped}, in code cell {where}")
    elif done.returncode:
        notes.append(f"the run ended early (status {done.returncode})")
    return outputs, notes, done


def inside():
    """What runs within the sandbox: cells.json to outputs.json, which is rewritten after every cell."""
    import nbformat
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import DeadKernelError

    job = json.loads(Path("cells.json").read_text())
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in job["cells"]])
    outputs, notes, dead, replies = {}, [], set(), {}

    def failed(name, text):
        return [nbformat.v4.new_output("error", ename=name, evalue=text, traceback=[f"{name}: {text}"])]

    def save():
        Path("outputs.new").write_text(json.dumps({"outputs": outputs, "notes": notes}))
        os.replace("outputs.new", "outputs.json")

    def attempt():
        """Run what is left in a fresh kernel; False when a cell ended the kernel."""
        manager = AsyncKernelManager(kernel_name="python3", transport="ipc")    # the network is down, loopback too
        timeout = {"ename": "CellTimeoutError", "traceback": [],
                   "evalue": f"the cell ran for more than {job['cell_seconds']:g} s and was interrupted"}
        client = NotebookClient(
            nb, km=manager, timeout=job["cell_seconds"], allow_errors=True, error_on_timeout=timeout,
            record_timing=False, interrupt_on_timeout=True, store_widget_state=False, startup_timeout=120,
            on_cell_executed=lambda cell, cell_index, execute_reply: replies.update({cell_index: execute_reply}))
        with client.setup_kernel(cwd=os.getcwd()):
            for index, cell in enumerate(nb.cells):
                if index in dead or not cell.source.strip():
                    outputs.setdefault(str(index), [])
                    continue
                replies.pop(index, None)
                try:
                    client.execute_cell(cell, index)
                    reply = replies.get(index, {}).get("content", {})
                    if any(load.get("source") == "ask_exit" for load in reply.get("payload") or []):
                        raise DeadKernelError("the cell called exit or quit")
                except DeadKernelError as error:
                    dead.add(index)
                    what = str(error) if "called exit" in str(error) else "the kernel died in this cell"
                    outputs[str(index)] = failed("DeadKernelError", f"{what} (exit, a crash or too much memory)")
                    notes.append(f"code cell {index + 1}: {what}")
                    save()
                    return False
                content = replies.get(index, {}).get("content", {})
                name = content.get("ename", "Error")
                if content.get("status") == "error" and not any(o.get("ename") == name for o in cell.outputs):
                    cell.outputs[:0] = failed(name, content.get("evalue", ""))      # a timeout shows KeyboardInterrupt
                if content.get("ename") == "CellTimeoutError" and str(index) not in outputs:
                    notes.append(f"code cell {index + 1}: more than {job['cell_seconds']:g} s")
                outputs.setdefault(str(index), [dict(output) for output in cell.outputs])
                save()
        return True

    for _ in range(4):      # three restarts, then the rest stays undone
        if attempt():
            break
    save()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    if parser.parse_args(argv).inside:
        inside()
    else:
        print(describe())


if __name__ == "__main__":
    main()
