"""Content of a file: said in the topology, or by a file of the host that it names."""

from __future__ import annotations

from pydantic import ConfigDict, Field, model_validator

from netlab.topology.forms import also_text
from netlab.topology.links import Model
from netlab.topology.scalars import Text
from netlab.topology.source import WrongError


class Content(Model):
    """Plain text, or where the content comes from."""

    model_config = ConfigDict(json_schema_extra=also_text("The text itself."))

    source: Text | None = Field(
        default=None,
        alias="from",
        description="A file on the host, relative to the topology, whose content it gets as it is.",
    )
    text: Text | None = Field(default=None, description="Its content, as text.")

    @model_validator(mode="before")
    @staticmethod
    def _read_short_form(value: object) -> object:
        return {"text": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_content(self) -> Content:
        if (self.source is None) == (self.text is None):
            raise WrongError("a file has either from or text", 'write "" for an empty file')
        return self
