"""The steps of `clarion build`: copy, run, scan, pack, and the check that what was packed is what is listed."""
