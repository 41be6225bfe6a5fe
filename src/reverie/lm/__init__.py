"""Core 1: predict the next token, given all the tokens before it."""
