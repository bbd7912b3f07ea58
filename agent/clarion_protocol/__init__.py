"""What both sides agree on: values in, values out, no IO."""
