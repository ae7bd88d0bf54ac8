"""The local stack: embedded servers, our own processes, and one supervisor over them, for one laptop.

`home` is the folder it lives in, `servers` the embedded Redis, S3 and MongoDB, `processes` what keeps anything from
outliving it, `supervisor` runs and restarts parts, `stack` knows the parts.
"""
