"""Checks what comes in, and splits documents into chunks."""
