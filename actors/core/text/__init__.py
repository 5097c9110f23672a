"""JSON and text from strangers, read strictly, weighed before it is decoded, escaped when shown."""
