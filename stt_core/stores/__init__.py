"""The servers that hold everything: MongoDB, Redis, the object store. Connections, errors translated, safe writes."""
