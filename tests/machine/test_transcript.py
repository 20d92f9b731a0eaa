"""What was said on a channel, as a file."""

from __future__ import annotations

import re
from pathlib import Path

from netlab.machine.transcript import LIMIT, RECEIVED, SENT, open_transcript


def test_each_message_is_a_line_with_its_time_and_direction(tmp_path: Path) -> None:
    path = tmp_path / "qmp.log"
    path.write_text("what was there\n")
    with open_transcript(path) as transcript:
        transcript.record(SENT, b'{"execute":"stop"}\n')
        transcript.record(RECEIVED, b'{"return": {}}')
        transcript.record(RECEIVED, b"x" * 5000)
    # Who speaks on when the machine has ended meets no second error.
    transcript.record(SENT, b"too late")
    first, sent, received, cut = path.read_text().splitlines()
    assert first == "what was there"
    assert re.fullmatch(r'\d\d:\d\d:\d\d\.\d{3} > \{"execute":"stop"\}', sent)
    assert received.endswith(' < {"return": {}}')
    assert cut.endswith(f" < {'x' * 1000}… (5000 bytes)")


def test_a_transcript_keeps_its_end_and_no_more_than_twice_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "agent.log"
    with open_transcript(path) as transcript:
        number = 0
        for number in range(3 * LIMIT // 1000):
            transcript.record(SENT, b"%09d" % number + b"y" * 980)
    assert path.read_text().splitlines()[-1].endswith(f"{number:09}" + "y" * 980)
    sizes = [file.stat().st_size for file in sorted(tmp_path.iterdir())]
    assert len(sizes) == 2
    assert all(size <= LIMIT for size in sizes)
