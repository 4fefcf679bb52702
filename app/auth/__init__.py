"""Who is asking, and what may they see: keys, sign-ins and one table of permissions."""
