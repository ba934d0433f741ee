"""What every HTTP process shares: middleware, problem details, health, metrics, pages of results."""
