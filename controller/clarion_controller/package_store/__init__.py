"""The package store as hosts see it: over HTTP, read-only, from the home's folder or from a bucket."""
