"""What travels: operations, their values, errors and outcomes, and their JSON. Imports no other room."""
