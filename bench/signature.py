"""The signature of a release: made and checked by OpenSSH's `ssh-keygen`, in `manifest.json.sig` beside its manifest.

    ssh-keygen -Y sign -n temper-release -f KEY manifest.json

A manifest holds the hash of every file of every record, so one signature is for all of them.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench.errors import TemperError
from bench.verification import Findings

NAMESPACE = "temper-release"  # what the signature is for: one made for anything else does not count


def signature_findings(manifest: Path, signers: Path | None) -> Findings:
    """Whether the signature beside a manifest is of its bytes, and by one of `signers` (a file of allowed signers, as
    in `man ssh-keygen`). Without such a file a signature may be missing, and whose it is stays unknown.

    Raises TemperError where there is no `ssh-keygen`, or no file of signers.
    """
    signature = manifest.with_name(f"{manifest.name}.sig")
    if signers and not signers.is_file():
        raise TemperError(f"no file of allowed signers at {signers}")
    if not signature.is_file():
        words = f"{manifest}: is not signed: there is no {signature.name} beside it"
        return Findings([words]) if signers else Findings(told=[words])
    if signers is None:
        valid, said = _keygen(manifest, "check-novalidate", "-n", NAMESPACE, "-s", signature)
        said += "; whose key that is, --signers FILE can say" if valid else ""
    else:
        known, said = _keygen(manifest, "find-principals", "-s", signature, "-f", signers)
        who = next(iter(said.splitlines()), "")
        asked = ("verify", "-n", NAMESPACE, "-I", who, "-s", signature, "-f", signers)
        valid, said = _keygen(manifest, *asked) if known else (False, "none of the signers has that key")
    return Findings(told=[f"{signature}: {said}"]) if valid else Findings([f"{signature}: is not valid: {said}"])


def _keygen(manifest: Path, command: str, *options: str | Path) -> tuple[bool, str]:
    """Whether `ssh-keygen -Y` agrees, given the manifest, and what it says."""
    try:
        with manifest.open("rb") as content:
            arguments = ["ssh-keygen", "-Y", command, *options]
            done = subprocess.run(arguments, stdin=content, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise TemperError(f"a signature is checked by OpenSSH's ssh-keygen: {error.filename} is not here") from None
    return done.returncode == 0, (done.stdout or done.stderr).strip()
