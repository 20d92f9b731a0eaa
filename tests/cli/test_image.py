"""`netlab image`, on a store of its own that holds nothing."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Shell


def test_an_empty_store_is_an_empty_list(netlab: Shell) -> None:
    done = netlab("image", "list")
    assert (done.returncode, done.stdout) == (0, "")
    assert "netlab image build" in done.stderr
    assert json.loads(netlab("image", "list", "-f", "json").stdout) == []


@pytest.mark.parametrize(
    "words", [["show", "micro"], ["rm", "micro", "--yes"], ["show", "../x"], ["build", "nano"]]
)
def test_an_image_that_is_not_there_is_exit_code_2(netlab: Shell, words: list[str]) -> None:
    done = netlab("image", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("netlab: ")
    assert words[1] in done.stderr
