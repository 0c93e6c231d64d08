"""What authors of chat histories could test them with instead, measured on the same mutants."""
