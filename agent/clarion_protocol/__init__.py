"""What both sides agree on: values in, values out, no IO."""

from clarion_protocol.lean_signers import keep_sdks_out

keep_sdks_out()
