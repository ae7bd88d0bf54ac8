"""Who may use the API, what for, and how much: keys and their limits."""
