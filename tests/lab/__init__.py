"""The lab: real systemd servers on a network of their own, for tests that need the truth.

    def test_something(lab: Lab) -> None:
        web, db = lab.boot("web-1", "db-1")
        web.write("/etc/systemd/system/echo.service", UNIT)
        web.run("systemctl", "start", "echo")
        db.cut()      # pull its network cable
        web.kill()    # pull its power plug
        web.boot()    # its disk is what it was

A server boots in about a second. `cluster.set_up(lab, cache)` gives a controller and servers whose agents have joined
it, installed by apt from this checkout's packages; `clouds` puts three clouds around them. Everything is gone
afterwards, however the run ends: see `island`.
"""
