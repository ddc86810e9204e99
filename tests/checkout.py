"""Where the tree under test stands, and what may lie beside it."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
SHARED = CHECKOUT.parent / "shared"  # the referee and the platform's documents, where they lie beside a checkout
