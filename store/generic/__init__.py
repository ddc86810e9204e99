"""Operations with an answer: generic writes and reads over the entities. docs/persistence.md."""
