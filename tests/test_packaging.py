"""Wheel and sdist: metadata that an index takes, a README whose links lead somewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parent.parent
URL = "https://example.org/someone/pinxit"
LINK = re.compile(r"\]\(([^)\s]+)\)")


def load_build_hook():
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_metadata(**environment: str):
    """Return the core metadata that the build hook and pyproject.toml make."""
    program = (
        "from hatchling.metadata.core import ProjectMetadata\n"
        "from hatchling.metadata.spec import get_core_metadata_constructors as constructors\n"
        "from hatchling.plugin.manager import PluginManager\n"
        f"metadata = ProjectMetadata({str(ROOT)!r}, PluginManager())\n"
        "print(constructors()['2.4'](metadata))"
    )
    environ = {name: value for name, value in os.environ.items() if name != "PINXIT_URL"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return message_from_string(done.stdout)


def test_every_link_of_the_published_readme_is_absolute_and_names_a_file():
    metadata = read_metadata(PINXIT_URL=URL + "/")
    text = metadata.get_payload()
    tag = f"v{metadata['Version']}"
    links = [link for link in LINK.findall(text) if not link.startswith("#")]
    assert any(link.startswith(f"{URL}/raw/{tag}/docs/images/") for link in links)
    for link in links:
        assert link.startswith("https://"), link
        if link.startswith(URL):
            path = re.sub(rf"^{URL}/(raw|blob)/{tag}/|#.*$", "", link)
            assert (ROOT / path).exists(), link
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL"))
    assert urls["Homepage"] == URL


def test_without_an_address_the_readme_is_as_it_is():
    metadata = read_metadata()
    assert metadata.get_payload().strip() == (ROOT / "README.md").read_text("utf-8").strip()
    assert metadata["Project-URL"] is None


PATHS = st.from_regex(r"[a-zA-Z0-9_./-]{1,12}[a-z]", fullmatch=True).filter(lambda p: p[0] != "/")


@given(path=PATHS, anchor=st.sampled_from(["", "#part"]), image=st.booleans())
def test_links_outside_code_blocks_become_absolute(path, anchor, image):
    make_links_absolute = load_build_hook().make_links_absolute
    target = path + ".png" if image else path + anchor
    text = f"[a]({target})\n\n```python\nf[x]({target})\n```\n\n[b](https://x.y/z) [c](#there)"
    view = "raw" if target.endswith(".png") else "blob"
    expected = text.replace(f"[a]({target})", f"[a]({URL}/{view}/v1/{target})", 1)
    assert make_links_absolute(text, URL, "v1") == expected


@pytest.mark.long
def test_wheel_and_sdist_pass_the_check_of_the_package_index(tmp_path):
    environ = {**os.environ, "PINXIT_URL": URL}
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, env=environ, check=True, capture_output=True)
    files = sorted(map(str, tmp_path.iterdir()))
    assert len(files) == 2
    command = [sys.executable, "-m", "twine", "check", "--strict", *files]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    for name in ("pinxit/py.typed", "pinxit/cli/recipes/mnist-5-minutes.toml"):
        assert name in names
    assert not [name for name in names if name.startswith(("tests/", "docs/"))]
