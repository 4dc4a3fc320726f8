import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = """
import os, sys, time
from pathlib import Path
from seqmend.study.parallel import pool

class Endless:
    def __init__(self, file):
        self.file = file
    def run(self, progress):
        Path(self.file).write_text(str(os.getpid()))
        time.sleep(600)

if __name__ == "__main__":
    with pool(2, lambda what, done, total: None) as workers:
        workers.submit(Endless(sys.argv[1])).seconds()
"""


def test_workers_of_a_killed_process_end(tmp_path):
    script, file = tmp_path / "endless.py", tmp_path / "worker"
    script.write_text(SCRIPT)
    parent = subprocess.Popen([sys.executable, str(script), str(file)])
    try:
        assert _within(120, lambda: file.exists() and file.read_text())
        worker = int(file.read_text())
        assert _is_alive(worker)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert _within(60, lambda: not _is_alive(worker))


def _within(seconds, condition):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def _is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")  # a zombie that nobody waits for is dead all the same
    return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
