"""QR codes of eSIMs: the command ``qr``, and the pictures of a purchase."""

import os
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Self

import attrs
from cyclopts import Parameter

from roamify_async.models.esims import Esim

from .context import current
from .exits import REFUSED, USAGE, CommandError
from .parameters import Iccid, Output


@attrs.frozen(kw_only=True)
class Pictures:
    """QR codes that are drawn after a purchase."""

    show: bool = False
    folder: Path | None = None

    @classmethod
    def prepared(cls, *, show: bool, folder: Path | None) -> Self:
        """Check that QR codes can be drawn and written, before anything is bought."""
        if show or folder is not None:
            need_segno()
        if folder is not None:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise CommandError(f"{folder}: {error.strerror}") from None
            if not os.access(folder, os.W_OK):
                raise CommandError(f"{folder} cannot be written")
        return cls(show=show, folder=folder)

    def draw(self, esims: Iterable[Esim]) -> None:
        """Draw the QR codes of eSIMs."""
        for esim in esims:
            if self.show:
                sys.stderr.write(f"{esim.iccid}\n{esim.qr().terminal()}\n")
            if self.folder is not None:
                write_picture(esim, self.folder / f"{esim.iccid or esim.id}.svg")


def need_segno() -> None:
    """Raise ``CommandError`` if QR codes cannot be drawn."""
    if find_spec("segno") is None:
        raise CommandError("QR codes need segno", USAGE, "pip install 'roamify-async[qr]'")


def qr(
    iccid: Iccid,
    /,
    *,
    output: Annotated[Output, Parameter(help="File to write, `.svg` or `.png`; by default the terminal.")] = None,
) -> None:
    """Draw the QR code of an eSIM, which a phone scans to install it. Whoever has it can install the eSIM.

    Args:
        iccid: The ICCID of the eSIM.
    """
    need_segno()
    path = None if output is None else Path(output)
    if path is not None and path.suffix.lower() not in {".svg", ".png"}:
        raise CommandError("--output must end with .svg or .png")
    context = current()
    with context.client() as client:
        esim = client.esims.get(iccid=iccid)
    if esim.esim.lpa_code is None:
        hint = f"{context.command('apply', esim.id)} generates its profile"
        raise CommandError(f"eSIM {iccid} has no activation code yet", REFUSED, hint)
    if path is not None:
        write_picture(esim, path)
    else:
        sys.stdout.write(f"{esim.qr().terminal()}\n")


def write_picture(esim: Esim, path: Path) -> None:
    """Write the QR code of an eSIM to a file that only its owner may read."""
    code = esim.qr()
    try:
        path.touch(mode=0o600)
        if path.suffix.lower() == ".png":
            code.png(path)
        else:
            path.write_text(code.svg(), "utf-8")
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", REFUSED) from None
