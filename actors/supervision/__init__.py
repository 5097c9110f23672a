"""Starts, reboots and stops the actors; where doors find them."""
