"""What every connection of the store is set to."""

# Plans are made once per connection and kept. A table that was tiny when a statement was prepared would keep a
# sequential scan long after it has grown, so plans go by index from the start; all lookups here have one.
SESSION_SETTINGS: dict[str, str] = {
    "timezone": "UTC",
    "jit": "off",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
PREPARE_THRESHOLD = 1  # the statements of a batch are few and always the same: prepare them at their second use
