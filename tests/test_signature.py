"""A release that is signed, by OpenSSH's own program."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.errors import TemperError
from bench.signature import NAMESPACE, signature_findings


def keygen(*arguments: str | Path) -> None:
    subprocess.run(["ssh-keygen", "-q", *arguments], check=True, capture_output=True)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    keygen("-t", "ed25519", "-N", "", "-C", "a test", "-f", tmp_path / "key")
    return tmp_path / "key"


@pytest.fixture
def signers(tmp_path: Path, key: Path) -> Path:
    """Who may sign: whoever has the key."""
    file = tmp_path / "signers"
    file.write_text(f'temper namespaces="{NAMESPACE}" {key.with_suffix(".pub").read_text()}')
    return file


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    file = tmp_path / "manifest.json"
    file.write_text("{}\n")
    return file


def test_a_signature_is_checked_where_there_is_one(manifest: Path, key: Path, signers: Path) -> None:
    assert "is not signed" in signature_findings(manifest, None).told[0]
    assert "is not signed" in signature_findings(manifest, signers).problems[0]
    keygen("-Y", "sign", "-n", NAMESPACE, "-f", key, manifest)
    unknown, known = signature_findings(manifest, None), signature_findings(manifest, signers)
    assert (unknown.problems, known.problems) == ([], [])
    assert "whose key that is, --signers FILE can say" in unknown.told[0]
    assert 'Good "temper-release" signature for temper' in known.told[0]


def test_a_changed_manifest_another_key_and_another_purpose_are_named(
    manifest: Path, key: Path, signers: Path, tmp_path: Path
) -> None:
    keygen("-Y", "sign", "-n", NAMESPACE, "-f", key, manifest)
    manifest.write_text("{ }\n")
    for allowed in (None, signers):
        assert "is not valid" in signature_findings(manifest, allowed).problems[0]
    manifest.with_name("manifest.json.sig").unlink()
    keygen("-Y", "sign", "-n", "file", "-f", key, manifest)
    assert "is not valid" in signature_findings(manifest, signers).problems[0]
    manifest.with_name("manifest.json.sig").write_text("garbage")
    for allowed in (None, signers):
        assert "is not valid" in signature_findings(manifest, allowed).problems[0]
    manifest.with_name("manifest.json.sig").unlink()
    keygen("-t", "ed25519", "-N", "", "-f", tmp_path / "other")
    keygen("-Y", "sign", "-n", NAMESPACE, "-f", tmp_path / "other", manifest)
    assert "none of the signers has that key" in signature_findings(manifest, signers).problems[0]


def test_what_a_signature_cannot_be_checked_without(
    manifest: Path, signers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TemperError, match="no file of allowed signers"):
        signature_findings(manifest, tmp_path / "nobody")
    manifest.with_name("manifest.json.sig").write_text("x")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TemperError, match="ssh-keygen is not here"):
        signature_findings(manifest, signers)


def test_signers_without_a_manifest_are_refused(signers: Path, tmp_path: Path, temper: Any) -> None:
    result = temper("verify", tmp_path, "--signers", signers)
    assert result.code == 2
    assert "--signers goes with --manifest" in result.err
