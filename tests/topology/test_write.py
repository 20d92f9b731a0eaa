"""What is written as YAML is read as the same values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netlab.topology.document import Value, parse
from netlab.topology.load import loads
from netlab.topology.write import dumps

TEXTS = (
    st.sampled_from(["", "~", "null", "no", "1.10", "0x1f", "- a", "# b", "a: b", "2026-01-01"])
    | st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
    | st.text(st.sampled_from(" \n\t'\"\\:#-{}[],&*!|>%@`a"), max_size=12)
)  # fmt: skip
# A merge key is one of the things that the language does not have.
KEYS = TEXTS.filter(lambda key: key not in {"", "<<"})
VALUES: st.SearchStrategy[Value] = st.recursive(
    TEXTS | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=5))
def test_values_come_back_as_they_were(value: dict[str, Value]) -> None:
    read, _, mistakes = parse(dumps(value), "written")
    assert (read, mistakes) == (value, ())


def test_text_that_looks_like_a_variable_stays_text() -> None:
    text = dumps({"name": "a", "nodes": {"b": {"run": ["echo ${HOME} $${x}"]}}})
    run = loads(text).nodes["b"].run
    assert run == ("echo ${HOME} $${x}",)


def test_a_comment_stays_a_comment_whatever_is_in_it() -> None:
    text = dumps({"name": "a", "nodes": {"b": None}}, comment="one\r\nname: c\x85nodes: d\x1b[1m")
    assert loads(text).name == "a"
    assert all(line.startswith("#") for line in text.split("\n")[:3])


def test_figures_and_words_are_written_plainly() -> None:
    assert dumps({"cpus": "2", "no": "null"}) == "cpus: 2\nno: 'null'\n"
