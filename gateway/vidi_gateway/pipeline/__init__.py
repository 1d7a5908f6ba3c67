"""What happens to a film: intake, one durable workflow, delivery. Transport-free."""
