"""`psal paint`: a page in the browser to paint what should go. A server on this machine holds the pictures."""
