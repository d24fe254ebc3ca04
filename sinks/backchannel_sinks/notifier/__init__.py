"""The notifier: from ``chat.alerts`` to people, by apprise and by signed webhooks."""
