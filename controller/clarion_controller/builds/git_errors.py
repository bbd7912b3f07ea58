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
    r"|repository not exported|error: 404\b",
    re.IGNORECASE,
)
_UNKNOWN_HOST_KEY = re.compile(r"Host key verification failed")
_FORBIDDEN = re.compile(r"transport '[a-z-]*' not allowed")


def explain(said: str, url: str, *, has_credential: bool) -> ClarionError:
    """Return the error that git's message is, about the remote `url`."""
    last = said.splitlines()[-1] if said else "git failed and said nothing"
    if _UNKNOWN_HOST_KEY.search(said):
        hint = "As the builder's user: 'ssh-keyscan HOST >> ~/.ssh/known_hosts', and compare the fingerprint."
        return BadConfig(f"the builder does not know the host key of {url}", hint=hint)
    if _NO_ENTRY.search(said):
        hint = "Is the credential still valid?" if has_credential else "Set credential of the repository in fleet.toml."
        return BadConfig(f"{url} asks for a password or key that the builder does not have", hint=hint)
    if _FORBIDDEN.search(said):
        return BadConfig(
            f"{url} is, or has a submodule that is, of a kind that is not fetched: {last[:300]}", hint="Use https://."
        )
    if _NO_REPOSITORY.search(said):
        return BadConfig(f"{url} is no git repository", hint="Correct url of the repository in fleet.toml.")
    return NetworkError(f"{url} cannot be reached: {last[:300]}", hint="It is tried again with the next push.")
