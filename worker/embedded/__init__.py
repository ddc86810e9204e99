"""A whole fleet on one machine: servers, processes, the directory they live in. docs/operations.md."""
