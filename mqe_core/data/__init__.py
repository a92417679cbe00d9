"""Episodes on disk: one store, and one reader per published format. No torch here."""
