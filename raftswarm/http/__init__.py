"""HTTP/1.1 by h11 on trio, both sides: unix sockets, TCP and TLS, streaming, hijack."""
