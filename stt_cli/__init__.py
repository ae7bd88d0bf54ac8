"""The terminal door: `stt`. It speaks HTTP to the API and runs the local stack; it never imports the other doors."""
