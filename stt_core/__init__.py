"""The domain of the speech-to-text system: everything that is neither Dagster, HTTP nor terminal."""
