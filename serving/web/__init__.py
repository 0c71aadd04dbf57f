"""What the policy server and the Pong web server have in common as HTTP servers."""
