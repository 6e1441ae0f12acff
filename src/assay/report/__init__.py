"""What people read: `page` and `accuracy` write HTML files, `table` and `errors` print; all know only the dicts of the JSON promise."""
