"""Engines: the programs that turn chunks of speech into text, behind one face.

`base.Engine` is that face, `transcriber.Transcriber` what steps use; `choice.engine_for` takes the engine that runs a
model. Nothing above knows which one it is.
"""
