"""What people read: `page.write` and `accuracy.write` make one HTML file each, `table` and `errors` print to the terminal; all know only the dicts of the JSON promise."""
