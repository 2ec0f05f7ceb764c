"""Reference: a further picture that an edit looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..families.parameters import Param
from ..images.picture import Picture
from .parts import Part, declared_in_part


@dataclass(frozen=True, kw_only=True)
class Reference(Part):
    """A further picture that an edit looks at, such as a sofa that is put into the room of the initial picture.

    Parameters
    ----------
    image
        Any mode and size; handed on in its own size.

    Raises
    ------
    ParameterError
        A value breaks its rule.
    """

    TITLE: ClassVar[str] = "reference"

    image: Any = declared_in_part(
        "image_reference",
        Param(Picture, "further picture that an edit looks at; may be given several times", own_size=True),
    )

    @classmethod
    def of(cls, value: Any) -> Any:
        """Return a reference: as it is, from a mapping of its fields, or from a picture."""
        return super().of(value) if isinstance(value, (cls, Mapping)) else cls(image=value)
