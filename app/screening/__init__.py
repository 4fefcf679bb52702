"""Legal status of many structures at once, leaving no trace."""
