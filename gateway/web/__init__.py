"""6. Answers come back by HTTP: carrier callbacks, health, metrics."""
