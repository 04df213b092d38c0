"""`yumad plugin scan FOLDER`: what of a version-10 subnet will not port by itself (AXON R41)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import JsonOption
from .output import print_json, reporting


def scan(
    folder: Annotated[Path, typer.Argument(help="Folder of the subnet's code, or one file.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """List what will not port of a subnet written for the SDK's version 10; the code is read, not run."""
    with reporting(as_json):
        from ...plugin.compat.scan import scan as found_in

        found = found_in(folder.expanduser())
        if as_json:
            print_json(
                {
                    "findings": [
                        {"file": str(one.file), "line": one.line, "what": one.what, "remedy": one.remedy}
                        for one in found
                    ]
                }
            )
            return
        for one in found:
            print(one)
        print(f"{len(found)} places; the rest ports with `import yumad.plugin.compat as bt` (docs/plugins.md)")
