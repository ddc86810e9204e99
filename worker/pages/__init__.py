"""Pages for a browser: a workflow drawn as a timeline."""
