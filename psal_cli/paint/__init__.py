"""`psal paint`: a page in the browser to paint masks and fill them. A server on this machine holds the pictures."""
