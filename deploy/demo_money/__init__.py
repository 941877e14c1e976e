"""The money part on the real stack, shown and checked: `make demo-money`."""
