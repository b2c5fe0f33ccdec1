"""Whether the world is still the one the models learned from: profiles of tables, drift, performance, and when to raise an alarm."""
