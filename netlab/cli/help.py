"""`netlab help`: verbs and topics."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from netlab.cli.frame import add_verb, load_command, make_app
from netlab.cli.topics import find_topic, list_topics
from netlab.cli.verbs import VERBS, find_verb, render_help
from netlab.errors import UnknownNameError

app = make_app()


def _complete_subject(incomplete: str) -> list[tuple[str, str]]:
    pairs = [(topic.name, topic.title) for topic in list_topics()]
    pairs += [(verb.name, verb.summary) for verb in VERBS]
    return [pair for pair in pairs if pair[0].startswith(incomplete)]


@add_verb(
    app,
    examples=(
        ("netlab help", "the verbs and the topics"),
        ("netlab help topology", "the topology language"),
        ("netlab help up", "the same as `netlab up --help`"),
    ),
    codes=(0, 2),
    name="help",
)
def explain(
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="[TOPIC]", help="A topic or a verb.", autocompletion=_complete_subject
        ),
    ] = None,
) -> None:
    """Explain a topic or a verb; without one, list them."""
    if subject is None:
        print(render_help("netlab"))
        print("\nTopics (`netlab help TOPIC`):")
        topics = list_topics()
        width = max((len(topic.name) for topic in topics), default=0)
        for topic in topics:
            print(f"  {topic.name:<{width}}  {topic.title}")
        return
    topic = find_topic(subject)
    if topic is not None:
        _show(topic.text)
        return
    verb = find_verb(subject)
    if verb is None:
        known = ", ".join(topic.name for topic in list_topics())
        raise UnknownNameError(
            f"there is no topic {subject!r}", hint=f"the topics: {known}; or a verb"
        )
    command = load_command(verb)
    with command.make_context(f"netlab {verb.name}", [], resilient_parsing=True) as context:
        print(command.get_help(context))


def _show(text: str) -> None:
    """Print Markdown: laid out on a terminal, as it is elsewhere."""
    if not sys.stdout.isatty():
        print(text, end="")
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))
