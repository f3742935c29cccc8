"""What the load scripts share: processes and their cost, tokens, the client."""
