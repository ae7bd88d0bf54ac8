"""The routes under `/v1` in the form of OpenAI's API, so that programs written for that one need another address only.

Behind them is the same core: a request creates a job and waits for it.
"""
