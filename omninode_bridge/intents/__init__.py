"""What a reducer asks for: intents, their payloads and results, and the store effect that has them carried out."""
