"""Builds from a push, in the order in which one goes its way.

In the controller, what may be wrong and what may be slow apart from the event loop:

1. hear       receive.py (raw_body.py, announcements/: a file for each forge)   or by hand: look_up.py
2. keep       intake.py, build_queue.py (queue_database.py, build_rows.py)      on the disk before it is answered
              take_on.py, newest_push.py                                        what counts once, what supersedes what
3. hand out   desk.py                                                           the builder's routes, and all it may do

In `clarion builder`, as another user:

4. take       builder.py (builder_client.py, log_upload.py)                     its list of steps, from here to 7
5. fetch      checkout.py (git.py, git_errors.py)
6. build      sandbox.py (limits.py, walls.py, inside.py, watch.py, disk_use.py, output.py, take.py, clean.py)
7. hand over  upload.py, log_file.py                                            to the controller's disk

In the controller again:

8. settle     after_build.py (run_clarion.py)                                   check, publish
9. deploy     auto_deploy.py, standing.py, waiting.py                           at once, or when nothing is in the way
10. tell      record.py                                                         the record; notices and forges follow it

build.py is one build and the messages about it, builds.py what these parts share, ports.py where they listen, upkeep.py
what has to be looked after all the time, give_up.py which builders are not waited for.
"""
