"""What was spent, held against prices, bills and the weeks before. Pure rules over what the log says; the command reads the log."""
