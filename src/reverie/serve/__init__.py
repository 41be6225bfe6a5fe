"""Serving: HTTP routes around one worker that owns the models."""
