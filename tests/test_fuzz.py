"""A short run of fuzz.py."""

import fuzz


def test_damaged_files_end_in_our_own_errors(tmp_path):
    assert fuzz.run(pictures=200, others=40, keep=tmp_path)
