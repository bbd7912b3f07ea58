"""What a store's objects are called: keys that can leave neither the folder nor the prefix of their store."""

from __future__ import annotations

from dataclasses import dataclass

from clarion_protocol.errors import BadConfig, UnknownPackage
from clarion_protocol.package_paths import path_problem


@dataclass(frozen=True)
class Keys:
    """The keys of a store whose objects all lie below `prefix` in a bucket that others may use as well."""

    prefix: str = ""

    @classmethod
    def below(cls, prefix: str) -> Keys:
        """Return the keys below the `prefix` that fleet.toml names, with or without slashes around it.

        Raises:
            BadConfig: it cannot be one.
        """
        bare = prefix.strip("/")
        if bare and (problem := path_problem(bare)):
            raise BadConfig(
                f"[store] prefix {prefix!r} {problem}", hint='A prefix is a path such as "clarion/packages".'
            )
        return cls(f"{bare}/" if bare else "")

    def full(self, key: str) -> str:
        """Return what the object of `key` is called in the bucket.

        Raises:
            UnknownPackage: nothing can lie under such a key.
        """
        if problem := key_problem(key):
            raise UnknownPackage(f"no package can lie under {key[:200]!r}: it {problem}")
        return self.prefix + key

    def key_of(self, full: str) -> str | None:
        """Return the key of the object that the bucket calls `full`, or None if it is none of this store's."""
        key = full.removeprefix(self.prefix)
        is_ours = full.startswith(self.prefix) and key_problem(key) is None
        return key if is_ours else None


def key_problem(key: str) -> str | None:
    """Return why `key` may not name an object, or None if it may: as a path in a package, and without hidden names."""
    if problem := path_problem(key):
        return problem
    is_hidden = any(component.startswith(".") for component in key.split("/"))
    return "has a component that begins with a dot" if is_hidden else None


def unknown(key: str) -> UnknownPackage:
    """Return the error for a key under which nothing lies."""
    return UnknownPackage(f"the package store has no {key}", hint="Run 'clarion packages' to see what is published.")
