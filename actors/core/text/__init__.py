"""JSON and text from outside: read strictly, weighed before decoding, escaped when shown."""
