"""Forges: a same-named file for each that is told what came of a push, behind `report.Forge`."""
