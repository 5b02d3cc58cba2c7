"""2. It is made durable: the database, the documents, the committer."""
