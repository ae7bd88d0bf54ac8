"""The HTTP door: routes that each call one function of the core. Run it with
`uvicorn api.main:app --http api.server:HTTP`."""
