"""Operations become rows, exactly once: the claim in the ledger, one batch, one transaction. docs/ledger.md."""
