"""Alerts as people and machines get them: subscriptions, the inbox, deliveries, acknowledgements."""
