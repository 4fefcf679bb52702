"""The instruments in force: lists, editions, entries."""
