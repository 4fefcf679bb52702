"""Which substances to review first: the ranking by prevalence, persistence and harm (domain guide, section 8)."""
