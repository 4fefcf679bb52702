"""Everything that knows HTTP, SQL or a person: the service, its command line and its pages."""
