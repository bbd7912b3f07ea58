"""What an operating system says of an error, without the numbers and calls that libraries put around its words."""

from __future__ import annotations

import errno
import os


def os_words(error: OSError) -> str:
    """Return why a call failed, such as "Connection refused"; never empty.

    Of the kinds that libraries make (ssl.SSLError, socket.gaierror), which number otherwise, it is their own words.
    """
    is_of_system = type(error).__module__ == "builtins" and error.errno in errno.errorcode
    said = os.strerror(error.errno or 0) if is_of_system else error.strerror or str(error)
    return said or type(error).__name__
