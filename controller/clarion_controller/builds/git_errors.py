"""What git says when a remote cannot be used, as an error of ours that says what to do."""

from __future__ import annotations

import re

from clarion_protocol.errors import BadConfig, ClarionError, NetworkError

_NO_ENTRY = re.compile(
    r"could not read (Username|Password)|Authentication failed|Permission denied|terminal prompts disabled"
    r"|error: 40[13]\b|unable to read askpass response",
    re.IGNORECASE,
)
_NO_REPOSITORY = re.compile(
    r"not a git repository|does not appear to be a git repository|repository '.*' not found|not valid: is this a git"
    r"|repository not exported|error: 404\b|^error: repository not found",
    re.IGNORECASE | re.MULTILINE,
)
_UNKNOWN_HOST_KEY = re.compile(r"Host key verification failed")
_FORBIDDEN = re.compile(r"transport '[a-z-]*' not allowed")
_SUBMODULE = re.compile(r"submodule|\.gitmodules")
_COMPLAINT = re.compile(r"(ssh|fatal|error): ", re.IGNORECASE)
# What git says below every failure of ssh, whatever it was.
_TRAILER = (
    "fatal: Could not read from remote repository.",
    "Please make sure you have the correct access rights",
    "and the repository exists.",
)


def explain(said: str, url: str, *, has_credential: bool) -> ClarionError:
    """Return the error that git's message is, about the remote `url`."""
    last = _complaint(said)
    if _UNKNOWN_HOST_KEY.search(said):
        hint = "As the builder's user: 'ssh-keyscan HOST >> ~/.ssh/known_hosts', and compare the fingerprint."
        return BadConfig(f"the builder does not know the host key of {url}", hint=hint)
    if _NO_ENTRY.search(said):
        return BadConfig(
            f"{url} asks for a password or key that the builder does not have",
            hint=_how_to_enter(url, has_credential=has_credential),
        )
    if _FORBIDDEN.search(said):
        return BadConfig(
            f"{url} is, or has a submodule that is, of a kind that is not fetched: {last[:300]}", hint="Use https://."
        )
    if _NO_REPOSITORY.search(said):
        return BadConfig(f"{url} is no git repository", hint="Correct url of the repository in fleet.toml.")
    if _SUBMODULE.search(last.replace(url, "")):
        hint = "Check .gitmodules in a fresh clone: 'git submodule update --init --recursive'."
        return NetworkError(f"a submodule of {url} cannot be fetched: {last[:300]}", hint=hint)
    return NetworkError(f"{url} cannot be reached: {last[:300]}", hint=f"Check url: 'git ls-remote {url}'.")


def _how_to_enter(url: str, *, has_credential: bool) -> str:
    if not url.startswith(("https://", "http://")):
        return "As the builder's user: 'ssh-keygen -t ed25519', and make the public half a deploy key at the forge."
    return "Is the credential still valid?" if has_credential else "Set credential of the repository in fleet.toml."


def _complaint(said: str) -> str:
    """Return the line that says what is wrong; git adds others below it."""
    lines = [line.strip() for line in said.splitlines()]
    telling = [line for line in lines if line and line not in _TRAILER] or lines or ["git failed and said nothing"]
    return ([line for line in telling if _COMPLAINT.match(line)] or telling)[-1]
