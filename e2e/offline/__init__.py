"""A kind cluster where no image registry answers: node image and Docker from Debian packages and Go modules."""
