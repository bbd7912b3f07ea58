"""Writes the version that is being built into the file VERSION; `clarion build` says which it is."""

import os
from pathlib import Path

if __name__ == "__main__":
    Path("VERSION").write_text(os.environ["CLARION_VERSION"] + "\n")
