"""Notifiers: a same-named file for each way to tell people, behind `notice.Notifier`."""
