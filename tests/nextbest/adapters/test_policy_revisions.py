"""Policies to compare, from folders and from git."""

import shutil
import subprocess
from pathlib import Path

import pytest

from nextbest.adapters.policy_revisions import ComparisonError, document_of
from nextbest.settings import CHECKOUT


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """A repository whose first revision has no policy, whose second has one, with an edit that is not committed."""
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, *identity, "commit", "--quiet", "--allow-empty", "-m", "one"], check=True)
    folder = Path(shutil.copytree(CHECKOUT / "policies", tmp_path / "policies"))
    subprocess.run(["git", "-C", tmp_path, "add", "--all"], check=True)
    subprocess.run(["git", "-C", tmp_path, *identity, "commit", "--quiet", "-m", "two"], check=True)
    path = folder / "arbitration.yaml"
    path.write_text(path.read_text().replace("salt: coupons", "salt: other"))
    return folder


def test_a_folder_and_a_revision(policies: Path) -> None:
    """The files as they are, and as they were committed; a policy that contradicts itself can be compared, too."""
    path = policies / "actions.yaml"
    path.write_text(path.read_text().replace("purpose: marketing", "purpose: mischief", 1))
    assert document_of(policies, str(policies)).arbitration.salt == "other"
    assert document_of(policies, "git:HEAD").arbitration.salt == "coupons"


def test_what_cannot_be_compared(policies: Path) -> None:
    """No such revision, no policy in it, no such folder, a mistake of type: each said in its own words."""
    with pytest.raises(ComparisonError, match=r"git:nowhere: .*nowhere"):
        document_of(policies, "git:nowhere")
    with pytest.raises(ComparisonError, match="HEAD~1 has no policy"):
        document_of(policies, "git:HEAD~1")
    with pytest.raises(ComparisonError, match="is no folder: name one"):
        document_of(policies, str(policies / "nowhere"))
    (policies / "arbitration.yaml").write_text("salt: 1\n")
    with pytest.raises(ComparisonError, match="`exploration` is missing"):
        document_of(policies, str(policies))
