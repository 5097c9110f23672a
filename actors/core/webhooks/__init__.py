"""Webhooks: which events go where, what is sent, how it is signed, and when it is sent again."""
