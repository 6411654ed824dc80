"""The processes that train and evaluate: `python -m bench.execution.worker train|evaluate FOLDER`.

Training and evaluation never share a process, so nothing that trains can reach the test split. Each tells how far it is
as JSON lines on standard output; a mistake of the user's ends it with `{"error": ...}` and exit code 2, a refusal of a
submission with `{"refused": ...}` and exit code 1.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from bench.errors import Refused, TemperError
from bench.execution.job import Job, locked


def tell(**event: object) -> None:
    """One line to the process that watches; without one, there is no point in going on."""
    try:
        print(json.dumps(event), flush=True)
    except BrokenPipeError:
        os._exit(1)


def main(stage: str, folder: Path) -> int:
    """Run one stage in this process. Returns the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with locked(folder):
            job = Job.read(folder)
            if stage == "train" and job.confined:
                from bench.submission.confinement import train_confined

                train_confined(job, folder)
            elif stage == "train":
                from bench.execution.train import train

                train(job, folder)
            else:
                from bench.execution.judge import judge

                judge(job, folder)
    except Refused as error:
        tell(refused=str(error))
        return 1
    except TemperError as error:
        tell(error=str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
