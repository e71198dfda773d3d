"""Profile records, on the host: read, compared, and put into words for every printer."""
