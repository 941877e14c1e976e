"""cost-meter: money is reserved before it is spent, and settled after."""
