"""The routes of the queue's own API, its page and its OpenAPI document."""
