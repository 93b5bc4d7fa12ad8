"""The folder that all files of a remote source are in."""

from __future__ import annotations

import os.path

from hypothesis import example, given
from hypothesis import strategies as st

from pinxit.data.sources.remote import common_folder

FOLDERS = st.lists(
    st.lists(st.sampled_from("abc"), max_size=4).map(lambda parts: "/".join(["set", *parts])),
    min_size=1,
    max_size=5,
)


@given(folders=FOLDERS)
@example(["set/a", "set/b", "set/b/c"])
@example(["set/a/b", "set/a/bc"])
def test_it_is_the_longest_common_path(folders):
    assert common_folder(sorted(folders)) == os.path.commonpath(folders)
