"""QR codes of eSIMs."""

import io
from os import PathLike
from typing import TYPE_CHECKING

import attrs

from ._extras import missing

if TYPE_CHECKING:
    import segno


@attrs.frozen
class QrCode:
    """The QR code that a phone scans to install an eSIM, shown as a picture in a notebook. It needs the extra ``qr``.

    Whoever sees it can install the eSIM.
    """

    text: str = attrs.field(repr=False)
    """The activation code."""

    def _code(self) -> "segno.QRCode":
        try:
            import segno
        except ModuleNotFoundError as error:
            raise missing(error, "segno", "qr") from None
        return segno.make(self.text, micro=False)

    def svg(self, *, scale: int = 4) -> str:
        """Return an SVG image for a page, with a white background.

        Args:
            scale: Width of a module of the code in pixels.
        """
        return self._code().svg_inline(scale=scale, light="white")

    def png(self, path: str | PathLike[str], *, scale: int = 8) -> None:
        """Write a PNG file.

        Args:
            path: The file. An existing one is replaced.
            scale: Width of a module of the code in pixels.
        """
        image = io.BytesIO()
        self._code().save(image, kind="png", scale=scale, light="white")
        with open(path, "wb") as file:  # noqa: PTH123 -- the path may be any path-like object
            file.write(image.getvalue())

    def terminal(self) -> str:
        """Return text that shows the code when it is printed, with light modules in the colour of the text.

        The characters are block elements, two modules high. A terminal with dark text on a light background shows the
        code inverted, which most phones read too.
        """
        drawn = io.StringIO()
        self._code().terminal(drawn, compact=True)
        return drawn.getvalue()

    def _repr_svg_(self) -> str:
        return self.svg()
