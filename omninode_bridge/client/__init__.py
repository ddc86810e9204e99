"""From `submit` to a confirmed outcome: buffering, sending, confirming, sending again. docs/client.md is its manual."""
