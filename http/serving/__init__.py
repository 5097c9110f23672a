"""The server process: sockets, HTTP, WSGI, WebSockets."""
