"""The five steps from an uploaded recording to a published transcript; each op of the graph calls one."""
