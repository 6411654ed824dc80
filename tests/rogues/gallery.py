"""The rogues' gallery: submissions that cheat or are broken, and what catches each.

A rogue is a file in `methods/`. Its source is read first; where that rule is evaded, a second line holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

METHODS = Path(__file__).parent / "methods"
TEMPLATE = Path(__file__).parent / "page.md"
PAGE = Path(__file__).parents[2] / "docs" / "rogues.md"

Line = Literal["isolation", "sandbox limit", "hand-over", "conformance", "diagnostics", "audit", "no effect"]
Stage = Literal["raw", "desk", "check", "train", "its own"]  # which test of test_rogues.py runs it


@dataclass(frozen=True)
class Rogue:
    """A submission that cheats or is broken."""

    file: str  # in methods/, without .py
    cheat: str
    rule: str  # the words by which `read_submission` refuses it; "" where the source looks honest
    line: Line  # what holds where the source's rules are evaded
    words: str  # of the refusal, or of the error inside the sandbox
    stage: Stage

    @property
    def content(self) -> bytes:
        """The file."""
        return (METHODS / f"{self.file}.py").read_bytes()


ROGUES = [
    # data
    Rogue(
        "trains_on_test",
        "asks the harness for the test split",
        "imports bench.data.load",
        "isolation",
        "cannot import name 'load_digits'",
        "check",
    ),
    Rogue(
        "loads_digits",
        "loads all digits from scikit-learn",
        "imports sklearn.datasets",
        "isolation",
        "cannot import name 'load_digits'",
        "check",
    ),
    Rogue(
        "reads_test_file",
        "reads the test images of Fashion-MNIST from the disk",
        "uses open",
        "isolation",
        "No such file",
        "raw",
    ),
    Rogue(
        "reads_records",
        "reads test labels from the records that ship",
        "imports bench.files",
        "isolation",
        "Permission denied",
        "raw",
    ),
    Rogue(
        "remembers_images",
        "contains test images in its source",
        "bytes of information",
        "audit",
        "gap: better on test than on validation",
        "its own",
    ),
    # the machine
    Rogue("opens_socket", "opens a connection", "imports socket", "isolation", "Operation not permitted", "raw"),
    Rogue(
        "leaves_worker",
        "starts a process that should outlive the sandbox",
        "imports subprocess",
        "isolation",
        "Operation not permitted",
        "raw",
    ),
    Rogue(
        "reads_secrets",
        "reads secrets from the environment",
        "imports os",
        "isolation",
        "it has 0 secrets; its home is /scratch",
        "raw",
    ),
    Rogue("writes_records", "writes a record", "imports bench.files", "isolation", "Read-only file system", "raw"),
    Rogue(
        "edits_its_source",
        "overwrites the frozen file",
        "imports pathlib",
        "isolation",
        "Read-only file system",
        "raw",
    ),
    Rogue(
        "picks_its_place",
        "uses a path as its name, to store its record elsewhere",
        "a method is named like my-method",
        "isolation",
        "unknown method",
        "check",
    ),
    Rogue(
        "keeps_keys",
        "keeps what it learned in a keyring, for its next sandbox",
        "imports ctypes",
        "isolation",
        "Operation not permitted",
        "raw",
    ),
    Rogue("turns_screws", "changes settings of the kernel", "imports pathlib", "isolation", "No such file", "raw"),
    Rogue(
        "traces_others", "attaches to another process", "imports ctypes", "isolation", "Operation not permitted", "raw"
    ),
    Rogue(
        "makes_namespaces",
        "becomes root in a namespace of its own",
        "imports ctypes",
        "isolation",
        "Operation not permitted",
        "raw",
    ),
    Rogue(
        "leaves_setuid",
        "leaves a program that runs as its owner",
        "imports pathlib",
        "isolation",
        "its folder is gone with it",
        "its own",
    ),
    Rogue("sleeps", "sleeps forever", "imports time", "sandbox limit", "it took longer than", "raw"),
    Rogue("eats_memory", "fills the memory", "", "sandbox limit", "MemoryError", "raw"),
    Rogue(
        "hides_in_memory_files",
        "fills the memory with files that no process maps",
        "imports os",
        "isolation",
        "Operation not permitted",
        "raw",
    ),
    Rogue(
        "hides_in_segments",
        "fills the memory with shared segments that no process maps",
        "imports ctypes",
        "isolation",
        "Operation not permitted",
        "raw",
    ),
    Rogue(
        "fills_temporary_folders",
        "fills the temporary folders, which are memory too",
        "imports pathlib",
        "sandbox limit",
        "No space left on device",
        "raw",
    ),
    Rogue("fills_disk", "fills the disk", "imports pathlib", "sandbox limit", "No space left on device", "raw"),
    Rogue(
        "hides_files",
        "fills the disk with deleted files that it keeps open",
        "imports pathlib",
        "sandbox limit",
        "No space left on device",
        "raw",
    ),
    Rogue(
        "maps_removed_files",
        "fills the disk with deleted files that it keeps mapped",
        "imports mmap",
        "sandbox limit",
        "No space left on device",
        "raw",
    ),
    Rogue(
        "hides_in_dark_folder",
        "fills a folder that cannot be listed",
        "imports pathlib",
        "sandbox limit",
        "No space left on device",
        "raw",
    ),
    Rogue(
        "churns_files",
        "makes and removes files without pause while it fills the disk",
        "imports threading",
        "sandbox limit",
        "No space left on device",
        "raw",
    ),
    Rogue(
        "sends_descriptors",
        "keeps deleted files in flight in a socket",
        "imports array",
        "isolation",
        "Operation not permitted",
        "raw",
    ),
    Rogue("makes_files", "makes files without end", "imports pathlib", "sandbox limit", "it made more than", "raw"),
    Rogue("forks", "starts processes endlessly", "imports os", "isolation", "Operation not permitted", "raw"),
    Rogue("talks", "prints endlessly", "", "sandbox limit", "it printed more than", "raw"),
    Rogue("works_unmetered", "computes outside the meter", "", "sandbox limit", "seconds of CPU time", "raw"),
    Rogue(
        "hides_work",
        "computes in child processes that nobody waits for",
        "imports os",
        "isolation",
        "Operation not permitted",
        "raw",
    ),
    Rogue(
        "ends_its_first_thread",
        "ends its first thread, so that the process seems to have ended, and computes in another",
        "imports ctypes",
        "sandbox limit",
        "seconds of CPU time",
        "raw",
    ),
    Rogue(
        "blinds_watcher",
        "takes a name that is no text, so that who watches it dies, and computes outside the meter",
        "imports pathlib",
        "sandbox limit",
        "seconds of CPU time",
        "raw",
    ),
    # what comes out
    Rogue("pickles", "hands over a pickle", "imports pickle", "hand-over", "pickles are never loaded", "desk"),
    Rogue("zip_bomb", "hands over a zip bomb", "imports zipfile", "hand-over", "pickles are never loaded", "desk"),
    Rogue(
        "sends_too_little",
        "announces more than it sends",
        "imports json",
        "hand-over",
        "it ended in the middle of",
        "desk",
    ),
    Rogue(
        "never_sends", "announces what it never sends", "imports json", "sandbox limit", "it took longer than", "desk"
    ),
    Rogue("empty_file", "hands over nothing", "imports json", "hand-over", "is not a safetensors file", "desk"),
    Rogue("endless_file", "hands over more than any student has", "imports json", "hand-over", "has more than", "desk"),
    Rogue(
        "spoils_weights",
        "hands over weights that are not numbers",
        "uses nets.student.module",
        "hand-over",
        "is not finite",
        "train",
    ),
    Rogue(
        "exits",
        "ends the process as if it had succeeded",
        "imports os",
        "hand-over",
        "without offering a candidate",
        "desk",
    ),
    Rogue(
        "asks_too_often",
        "hill-climbs on verdicts of the validation split",
        "imports json",
        "hand-over",
        "verdicts on validation",
        "desk",
    ),
    Rogue(
        "asks_again",
        "offers a step again with other weights",
        "imports json",
        "hand-over",
        "verdicts on validation",
        "desk",
    ),
    Rogue(
        "cooks_books",
        "reports fewer passes than its counts give",
        "imports json",
        "hand-over",
        "its counts and prices give",
        "desk",
    ),
    # the way of the weights
    Rogue(
        "jumps",
        "puts another student in the place of its own on the way",
        "uses nets.student.module",
        "audit",
        "its weights moved",
        "train",
    ),
    Rogue(
        "begins_elsewhere",
        "begins with the weights of another student",
        "uses nets.student.module",
        "audit",
        "its weights moved",
        "train",
    ),
    Rogue(
        "hides_state",
        "keeps what steers it where no checkpoint holds it",
        "uses nets.student.module",
        "audit",
        "come to other bits when they are run again",
        "train",
    ),
    Rogue(
        "offers_itself",
        "offers other weights than those of the step, before the harness offers those",
        "imports json",
        "audit",
        "come to other bits when they are run again",
        "train",
    ),
    # the contract
    Rogue(
        "fakes_success",
        "prints that it passed the suite",
        "imports json",
        "conformance",
        "without running the conformance suite",
        "its own",
    ),
    Rogue(
        "patches_meter", "patches the meter", "imports bench.budget", "conformance", "the meter charges 0.0000", "check"
    ),
    Rogue(
        "patches_optimiser",
        "patches the step of PyTorch's optimiser",
        "sets torch.optim.SGD.step",
        "conformance",
        "it replaced torch.optim",
        "check",
    ),
    Rogue(
        "goes_behind_meter",
        "calls the raw network behind the meter",
        "uses nets.student.module.forward",
        "conformance",
        "the meter charges",
        "check",
    ),
    Rogue(
        "moves_teacher", "changes the teacher", "uses nets.teacher.module", "conformance", "a teacher moved", "check"
    ),
    Rogue(
        "forks_seed",
        "seeds the random state itself",
        "uses torch.manual_seed",
        "conformance",
        "global random state",
        "check",
    ),
    Rogue(
        "hides_buffer",
        "adds a buffer to the student",
        "uses nets.student.module.register_buffer",
        "conformance",
        "the student has another layer",
        "check",
    ),
    Rogue(
        "enlarges_student",
        "adds a layer to the student",
        "uses nets.student.module",
        "conformance",
        "setup moved the student's weights",
        "check",
    ),
    Rogue(
        "adds_noise",
        "adds noise at inference",
        "uses nets.student.module.register_forward_pre_hook",
        "conformance",
        "the student has another layer",
        "check",
    ),
    Rogue(
        "quantises",
        "masks gradients by rounding",
        "uses nets.student.module",
        "conformance",
        "the student has another layer",
        "check",
    ),
    Rogue(
        "kills_gradient",
        "masks gradients with its own autograd function",
        "uses nets.student.module.register_forward_pre_hook",
        "conformance",
        "the student has another layer",
        "check",
    ),
    Rogue(
        "leans_on_batch",
        "normalises by the batch at inference",
        "sets layer.running_mean",
        "hand-over",
        "is missing",
        "train",
    ),
    Rogue("returns_teacher", "hands over the teacher as its student", "", "hand-over", "has more than", "train"),
    Rogue(
        "saturates",
        "masks gradients by weights alone: logits a thousand times larger",
        "uses nets.student.module",
        "diagnostics",
        "zero_gradients",
        "its own",
    ),
    Rogue(
        "masks_by_rounding",
        "masks gradients by weights alone: float32 rounds away what gradients follow",
        "uses nets.student.module",
        "diagnostics",
        "precision",
        "its own",
    ),
    Rogue(
        "offsets_logits",
        "lifts all logits until float32 rounds away what sets them apart",
        "uses nets.student.module",
        "diagnostics",
        "precision",
        "its own",
    ),
    Rogue(
        "shrinks_eps",
        "changes the eps of the evaluator",
        "reaches for __setattr__",
        "no effect",
        "the same bits as a method that trains with that eps",
        "its own",
    ),
    # the source
    Rogue(
        "hides_code_in_comment",
        "declares an encoding in which a comment contains a line of code",
        "declares an encoding",
        "isolation",
        "Operation not permitted",
        "raw",
    ),
    Rogue(
        "hides_in_bidi",
        "turns the direction of its text round, so that code looks like a comment",
        "contains the character U+202E",
        "isolation",
        "No such file",
        "raw",
    ),
    Rogue(
        "reaches_builtins",
        "reaches `exec` through a module of PyTorch",
        "uses torch.builtins",
        "isolation",
        "Operation not permitted",
        "check",
    ),
    Rogue(
        "reaches_os",
        "reaches the operating system through a module of PyTorch",
        "uses torch.os",
        "isolation",
        "it has 0 secrets; its home is /scratch",
        "check",
    ),
    Rogue(
        "imports_through",
        "imports a module from another that has it",
        "imports dataclasses.sys",
        "isolation",
        "Read-only file system",
        "raw",
    ),
    Rogue(
        "gets_attributes",
        "computes the names of modules",
        "uses getattr",
        "isolation",
        "Read-only file system",
        "raw",
    ),
    Rogue(
        "calls_bare_layers",
        "calls the student's layers one by one behind the meter",
        "uses nets.student.module",
        "conformance",
        "the meter charges",
        "check",
    ),
    Rogue(
        "clears_hooks",
        "removes the hooks of the meter",
        "reaches for _forward_hooks",
        "conformance",
        "the student has another layer",
        "check",
    ),
    Rogue(
        "holds_student_in_text",
        "contains a student that was trained on the test split, as text",
        "bytes of information",
        "audit",
        "its weights moved",
        "train",
    ),
    Rogue(
        "holds_student_in_numbers",
        "contains a student that was trained on the test split, as numbers",
        "bytes of information",
        "audit",
        "its weights moved",
        "train",
    ),
    Rogue(
        "holds_student_in_names",
        "contains a student that was trained on the test split, as names",
        "bytes of information",
        "audit",
        "its weights moved",
        "train",
    ),
]


def page() -> str:
    """docs/rogues.md."""
    from tests.rogues.doctored import DOCTORED

    return TEMPLATE.read_text().format(
        count=len(ROGUES),
        rows="\n".join(map(_row, ROGUES)),
        doctored=len(DOCTORED),
        checks="\n".join(f"| {each.cheat} | {each.check} | {each.words} |" for each in DOCTORED),
    )


def _row(rogue: Rogue) -> str:
    rule = f"`{rogue.rule}`" if rogue.rule else "none: it looks honest"
    return f"| {rogue.cheat} | {rule} | {rogue.line} | {rogue.words} |"


if __name__ == "__main__":
    PAGE.write_text(page())
