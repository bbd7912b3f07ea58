"""Write the version into the package, where the manifest finds it."""

import os
from pathlib import Path

files = Path("modules/web/files")
files.mkdir(exist_ok=True)
(files / "VERSION").write_text(os.environ["CLARION_VERSION"] + "\n", "utf-8")
