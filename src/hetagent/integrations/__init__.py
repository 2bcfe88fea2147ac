"""Other people's systems, one module each; nothing here is imported unless it is asked for."""
